"""One regime sent through the processor: what was shown, what came out, what is true."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ....callbacks.processor import StreamProcessor
from ...config import Settings
from ...evaluate.raw import od_stack
from ...frames import Document, NamedDocument
from ...simulate import SimSettings, Simulator, Truth, simulate_documents
from .regimes import Regime


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
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
) -> Scene:
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
    return Scene(
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


_COLUMNS = ("frame", "particle", "y", "x", "state", "revision")


def _table(rows: list[Document]) -> pd.DataFrame:
    return pd.DataFrame(rows) if rows else pd.DataFrame(dict.fromkeys(_COLUMNS, np.zeros(0)))
