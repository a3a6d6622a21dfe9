"""One regime sent through the processor: what was shown, what came out, what is true."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .....callbacks.processor.processor import StreamProcessor
from .....models.arrays import Array
from ....config import Settings
from ....core.frames import Document, NamedDocument
from ...evaluate.bound import Bound, cramer_rao
from ...evaluate.matching import Revision, of_revision
from ...evaluate.raw import od_stack
from ...evaluate.similarity import adjacent_ssim
from ...simulate import SimSettings, Simulator, Truth, simulate_documents
from ..peers import Peer, PeerStart
from .regimes import Regime

_COLUMNS = ("frame", "particle", "y", "x", "state", "revision")
ORACLE_STARTED = frozenset({"roi_first", "roi_previous"})
"""Peers that are shown the true position in every frame and only refine it."""
OURS = ("ours, provisional", "ours, final")


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchScan:
    """F frames of all scans of a regime behind each other.

    Attributes
    ----------
    regime : what was simulated. simulator : the microscope.
    truth : with the instances that are asked for marked as not cut.
    od : (F, H, W) float32 optical density with each frame's own flat, NaN where invalid; what
        the peers see.
    particles : rows of the ``particles`` stream without ROIs; `frame` counts over all scans.
    frames : rows of the ``frames`` stream without images; likewise.
    ledgers : of the stop documents.
    """

    regime: Regime
    simulator: Simulator
    truth: Truth
    od: NDArray[np.float32]
    particles: pd.DataFrame
    frames: pd.DataFrame
    ledgers: list[dict[str, Any]]


class _Collector:
    """Keeps the scalars of result documents."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Document]] = {"frames": [], "particles": []}
        self.ledgers: list[dict[str, Any]] = []
        self.offset = 0
        self._streams: dict[str, str] = {}

    def __call__(self, name: str, doc: Document) -> None:
        if name == "descriptor":
            self._streams[doc["uid"]] = doc["name"]
        elif name == "stop":
            self.ledgers.append(doc["ledger"])
        elif name == "event":
            row = {k: v for k, v in doc["data"].items() if not isinstance(v, np.ndarray)}
            stream = self._streams[doc["descriptor"]]
            if stream in self.rows:
                row["frame"] += self.offset
                self.rows[stream].append(row)


def record_scene(
    regime: Regime,
    simulated: SimSettings,
    settings: Settings,
    progress: Callable[[], object] = lambda: None,
) -> BenchScan:
    """Simulate all scans of a regime and send them through one processor.

    Parameters
    ----------
    regime : order of the plan, transforms. simulated : of the microscope, see `Regime.settings`.
    settings : of the processor.
    progress : is called after each document.
    """
    simulator = Simulator(simulated)
    collector = _Collector()
    processor = StreamProcessor(settings)
    processor.subscribe(collector)
    stacks = []
    for scan in range(simulated.scans):
        collector.offset = scan * len(simulated.scan_energies)
        documents = simulate_documents(order=regime.order, simulator=simulator, scan=scan)
        through = _through(regime.transform(documents), processor, progress)
        stacks.append(od_stack(through, settings))
    processor.close()
    return BenchScan(
        regime=regime,
        simulator=simulator,
        truth=regime.judged(simulator.truth),
        od=np.concatenate(stacks),
        particles=_table(collector.rows["particles"]),
        frames=_table(collector.rows["frames"]),
        ledgers=collector.ledgers,
    )


def _through(
    documents: Iterator[NamedDocument], processor: StreamProcessor, progress: Callable[[], object]
) -> Iterator[NamedDocument]:
    """Hand each document to the processor on its way, so that it is rendered only once."""
    for name, doc in documents:
        processor(name, doc)
        progress()
        yield name, doc


def _table(rows: list[Document]) -> pd.DataFrame:
    return pd.DataFrame(rows) if rows else pd.DataFrame(dict.fromkeys(_COLUMNS, np.zeros(0)))


# What the truth of a scene allows at best: the Cramer-Rao bound and an oracle's alignment.


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneScales:
    """The scales of a scene.

    Attributes
    ----------
    bound : of positions above the edge.
    oracle : (F - 1, P) SSIM of adjacent ROIs that are aligned by the true positions.
    """

    bound: Bound
    oracle: NDArray[np.float32]


def reference(scene: BenchScan) -> SceneScales:
    """Work out the bound above the edge, and align by the truth."""
    truth = scene.truth
    above = np.flatnonzero(truth.region == "above")
    yx = np.where(truth.whole[..., None], truth.yx, np.nan)
    return SceneScales(
        bound=cramer_rao(scene.simulator, above),
        oracle=adjacent_ssim(scene.od, yx, truth.radius),
    )


# What is compared: our provisional and final results, and what each peer makes of the frames.


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Positions of particles by one estimator.

    Attributes
    ----------
    name : of the estimator.
    rows : frame, particle, y, x, state, revision (px; NaN rows left out), one revision a frame.
    failure : why there are none, "" if there are. seconds : that a peer took, NaN for us.
    """

    name: str
    rows: pd.DataFrame
    failure: str = ""
    seconds: float = float("nan")


def our_estimates(scene: BenchScan) -> Iterable[Estimate]:
    """Results of the processor: as they came first, and as they stood in the end."""
    revisions: tuple[Revision, Revision] = ("first", "highest")
    for name, revision in zip(OURS, revisions, strict=True):
        rows = of_revision(scene.particles, revision)
        yield Estimate(name=name, rows=rows.assign(revision=0))


def peer_estimate(name: str, track: Peer, od: NDArray[np.float32], truth: Truth) -> Estimate:
    """Run a peer over frames.

    A peer that cannot handle them is told with its reason, so that its row is not missing.

    Parameters
    ----------
    name : of the peer. track : the peer.
    od : (F, H, W) optical density, NaN where invalid. truth : of these frames.
    """
    start = peer_start(truth)
    begin = time.perf_counter()
    try:
        result = track(od, truth.energies, start)
    except (ValueError, ArithmeticError, LookupError, RuntimeError) as error:
        failure = f"{type(error).__name__}: {error}"
        return Estimate(name=name, rows=_rows(np.zeros((0, 0, 2)), None), failure=failure)
    seconds = time.perf_counter() - begin
    return Estimate(name=name, rows=_rows(result.yx, result.ids), seconds=seconds)


def peer_start(truth: Truth) -> PeerStart:
    """Show the peers the true positions in the frame in which most particles are best seen."""
    wanted = truth.whole
    contrast = truth.od.mean(axis=1)
    frame0 = int(np.argmax(wanted.sum(axis=1) + contrast / (1 + contrast.max())))
    return PeerStart(
        frame0=frame0,
        yx=np.where(wanted[frame0, :, None], truth.yx[frame0], np.nan),
        radius=truth.radius,
        oracle_yx=truth.yx,
    )


def _rows(yx: Array, ids: NDArray[np.int64] | None) -> pd.DataFrame:
    frame, particle = np.nonzero(np.isfinite(yx).all(axis=2))
    y, x = yx[frame, particle].T
    identity = particle if ids is None else ids[frame, particle]
    columns = {"frame": frame, "particle": identity, "y": y, "x": x}
    return pd.DataFrame({**columns, "state": "tracked", "revision": 0})
