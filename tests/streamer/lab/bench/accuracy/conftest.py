"""One small scene through the real runner, shared by the tests of the bench."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from operando.streamer.config import load_settings
from operando.streamer.lab.bench.accuracy import record_scan, run_regime
from operando.streamer.lab.bench.peers import PeerResult
from operando.streamer.lab.bench.regimes import ACCURACY
from operando.streamer.lab.simulate import SimSettings

TINY = SimSettings(
    seed=4,
    shape=(200, 200),
    n_energies=12,
    n_particles=3,
    radius_px=(14.0, 20.0),
    wander_px=1.0,
    drift_px=2.0,
    jitter_px=1.0,
    chunk=1,
)


def near_truth(stack, energies, start):
    """A peer that knows the truth but for white noise of 0.3 px per axis."""
    assert stack.shape[0] == len(energies)
    noise = np.random.default_rng(0).normal(0, 0.3, start.oracle_yx.shape)
    return PeerResult(yx=start.oracle_yx + noise)


def broken(stack, energies, start):
    raise ValueError("no features in frame 3")


@pytest.fixture(scope="session")
def settings():
    return load_settings("sim_txm", {"process": {"device": "cpu", "threads": 1}})


@pytest.fixture(scope="session")
def regime():
    return replace(ACCURACY["paper"], name="tiny")


@pytest.fixture(scope="session")
def tiny():
    return TINY


@pytest.fixture(scope="session")
def scene(regime, settings):
    return record_scan(regime, TINY, settings)


@pytest.fixture(scope="session")
def steps():
    """What the runner said it was doing."""
    return []


@pytest.fixture(scope="session")
def result(regime, settings, steps):
    peers = {"near_truth": near_truth, "broken": broken}
    return run_regime(regime, TINY, settings, peers, lambda *step: steps.append(step))
