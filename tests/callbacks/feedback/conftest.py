"""A real RunEngine, real devices and the real processor, in one process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from bluesky import RunEngine

from operando.callbacks import StreamProcessor
from operando.callbacks.feedback import LatestResults
from operando.streamer.config import load_settings
from operando.streamer.lab.simulate import SimSettings
from operando.streamer.lab.simulate.devices import (
    Beamline,
    Mounting,
    askew,
    make_beamline,
    steady_creep,
)

SIMULATED = SimSettings(
    seed=3,
    shape=(150, 150),
    n_particles=4,
    radius_px=(11, 14),
    energies=tuple(np.linspace(8360.0, 8400.0, 40)),
    chunk=1,
    jitter_px=0.2,
    drift_px=0.5,
    wander_px=0.5,
    background=0.02,
)
MATRIX = askew(10.0, mirrored=True)


@pytest.fixture
def run_engine() -> Iterator[RunEngine]:
    """Return a RunEngine whose event loop is closed afterwards, which bluesky itself never does."""
    engine = RunEngine({}, call_returns_result=False)
    yield engine
    engine.loop.call_soon_threadsafe(engine.loop.stop)
    engine._th.join()
    engine.loop.close()


@dataclass
class Bench:
    """A beamline under a RunEngine whose documents the processor gets, and whose results we get."""

    engine: RunEngine
    beamline: Beamline
    latest: LatestResults
    raw: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    results: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    @property
    def axes(self) -> tuple[Any, Any]:
        return self.beamline.stage.y, self.beamline.stage.x

    @property
    def px_per_um(self) -> np.ndarray:
        return MATRIX / self.beamline.settings.pixel_size

    def moved(self) -> list[dict[str, Any]]:
        """What the loop has recorded in the raw runs."""
        return [
            {k.removeprefix("recenter_"): v for k, v in d["data"].items()}
            for n, d in self.raw
            if n == "event" and "recenter_acted" in d["data"]
        ]

    def off(self) -> np.ndarray:
        """True distance of the field from where it was first, of each image, px."""
        truth = self.beamline.sample.truth()
        moved = truth.stage + truth.shift
        return np.linalg.norm(moved - moved[0], axis=1)

    def advice(self) -> list[dict[str, Any]]:
        return [d["data"] for n, d in self.results if n == "event" and "severity" in d["data"]]


@pytest.fixture
def bench(run_engine: RunEngine) -> Iterator[Bench]:
    """A sample that creeps by 1.5 px per image on a stage that is mounted askew."""
    creep = steady_creep(60.0, 35.0, 60, 40)
    beamline = make_beamline(SIMULATED, Mounting(matrix=MATRIX, creep=creep))
    settings = load_settings("sim_txm", {"registration": {"whole_scan": False}})
    processor = StreamProcessor(settings)
    made = Bench(run_engine, beamline, LatestResults())
    processor.subscribe(made.latest)
    processor.subscribe(lambda name, doc: made.results.append((name, doc)))
    run_engine.subscribe(lambda name, doc: made.raw.append((name, doc)))
    run_engine.subscribe(processor)
    yield made
    processor.close()
