"""One small set through the real runner, shared by the tests of the bench."""

from __future__ import annotations

import numpy as np
import pytest

from operando.streamer.lab.bench.paper import WAYS, run_paper
from operando.streamer.lab.bench.paper_set import make_series, paper_set, tuned
from operando.streamer.lab.bench.peers import PeerResult, make_peer

CLASSICAL = "ours, classical"


def broken(stack, energies, start):
    raise ValueError("no features in frame 3")


def off_by_noise(stack, energies, start):
    """A peer that knows the truth but for white noise of 1 px per axis."""
    noise = np.random.default_rng(0).normal(0, 1.0, start.oracle_yx.shape)
    return PeerResult(yx=start.oracle_yx + noise)


@pytest.fixture(scope="session")
def tiny():
    """A set as the bench makes it, but small."""
    changes = {"shape": (220, 220), "n_particles": 3, "radius_px": (14.0, 22.0), "n_energies": 14}
    return tuned(paper_set(3, quick=True).model_copy(update={**changes, "steps_px": (0.0, 0.0)}))


@pytest.fixture(scope="session")
def settings():
    (way,) = (way for way in WAYS if way.name == CLASSICAL)
    return way.settings("sim_txm", {"device": "cpu", "threads": 1})


@pytest.fixture(scope="session")
def series(tiny, settings):
    return make_series(tiny, settings)


@pytest.fixture(scope="session")
def steps():
    """What the runner said it was doing."""
    return []


@pytest.fixture(scope="session")
def result(tiny, settings, steps):
    peers = {
        "off_by_noise": off_by_noise,
        "absolute_template": make_peer("absolute_template"),
        "broken": broken,
    }
    return run_paper(
        tiny,
        {CLASSICAL: settings},
        peers,
        {"ours, networks": "no weights here"},
        lambda *step: steps.append(step),
        speed_frames=10,
    )
