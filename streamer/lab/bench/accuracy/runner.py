"""One regime from the simulator to its figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ....config import Settings
from ...simulate import SimSettings
from ..peers import Peer
from .measure import EstimateFigures, Exhibit, exhibit, measure
from .regimes import Regime
from .scene import BenchScan, Estimate, our_estimates, peer_estimate, record_scene, reference

Progress = Callable[[str, float], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegimeResult:
    """What was measured in one regime.

    Attributes
    ----------
    regime : which. settings : of the simulator. n_frames, n_particles : true ones.
    figures : by estimator, then by column key. failures : why a peer has none, by estimator.
    exhibit : curves and images for the picture. ledgers : one for each run.
    """

    regime: Regime
    settings: SimSettings
    n_frames: int
    n_particles: int
    figures: Mapping[str, Mapping[str, float]]
    failures: Mapping[str, str]
    exhibit: Exhibit
    ledgers: list[dict[str, Any]]

    @property
    def scale(self) -> str:
        """How much was simulated, in words."""
        return f"{self.n_frames} frames, {self.n_particles} particles"


def run_regime(
    regime: Regime,
    simulated: SimSettings,
    settings: Settings,
    peers: Mapping[str, Peer],
    progress: Progress | None = None,
) -> RegimeResult:
    """Send a regime through the processor and the peers, and score them all.

    Parameters
    ----------
    regime : which. simulated : of the microscope, see :meth:`Regime.settings`.
    settings : of the processor. peers : by name.
    progress : is called with what is going on and the share that is done.
    """
    tell = progress or _no_progress
    documents = 2 * simulated.n_frames + 6 * simulated.scans
    steps = 4.0 + len(peers)
    count = 0

    def seen() -> None:
        nonlocal count
        count += 1
        tell("processing", min(count / documents, 1.0) / steps)

    scene = record_scene(regime, simulated, settings, seen)
    tell("Cramer-Rao bound", 1.0 / steps)
    best = reference(scene)
    measured: dict[str, EstimateFigures] = {}
    failures: dict[str, str] = {}
    for number, estimate in enumerate(_estimates(scene, peers)):
        tell(estimate.name, (2.0 + number) / steps)
        if estimate.failure:
            failures[estimate.name] = estimate.failure
        measured[estimate.name] = measure(estimate, scene, best)
    tell("done", 1.0)
    return RegimeResult(
        regime=regime,
        settings=simulated,
        n_frames=scene.truth.n_frames,
        n_particles=scene.truth.n_particles,
        figures={name: found.figures for name, found in measured.items()},
        failures=failures,
        exhibit=exhibit(scene, measured, best),
        ledgers=scene.ledgers,
    )


def _no_progress(what: str, share: float) -> None:
    """Tell nobody."""


def _estimates(scene: BenchScan, peers: Mapping[str, Peer]) -> Iterator[Estimate]:
    ours: Iterable[Estimate] = our_estimates(scene)
    yield from ours
    for name, track in peers.items():
        yield peer_estimate(name, track, scene.od, scene.truth)
