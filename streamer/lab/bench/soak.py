"""Many runs through one service, to see what grows."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ....callbacks.processor.processor import StreamProcessor
from ....callbacks.sinks.buffer import BufferedSink
from ...config import load_settings
from ...core.frames import Document, NamedDocument
from ...io.sources import make_source
from ...service.operation.monitor import Monitor
from ...service.service import Service
from ...service.tiled_server import EmbeddedTiled
from ..simulate import SimSettings, ni_edge_energies
from ..simulate.documents import IMAGE_KEY
from .harness import Column, Progress, Table, no_progress
from .load import Recycled, Resources, resources_of

if TYPE_CHECKING:
    from ....callbacks.tiled.sink import TiledSink

_ENERGIES = 40  # by eye: a scan over the edge; longer runs repeat it
_MARKS = 20  # looks at what the process holds; by eye
_WARM = 0.1  # of the frames; until then caches fill


@dataclass(frozen=True, slots=True, kw_only=True)
class SoakFigures:
    """Figures of a soak.

    Attributes
    ----------
    frames : sample frames processed. runs : runs that stopped.
    warm, end : what the process held after a tenth of the frames, and at the end.
    bytes_per_1000 : growth of the resident memory per 1000 frames after the first tenth, bytes;
        the slope of a straight line through all marks.
    ledger : sums of the ledgers of all runs. unbalanced : runs whose ledger does not balance.
    marks : (frames, what the process held), twenty times.
    """

    frames: int
    runs: int
    warm: Resources
    end: Resources
    bytes_per_1000: float
    ledger: dict[str, int]
    unbalanced: int
    marks: list[tuple[int, Resources]]


class Ledgers:
    """Subscriber of results that sums up the ledgers of the runs."""

    def __init__(self) -> None:
        self.sums: Counter[str] = Counter()
        self.runs = 0
        self.unbalanced = 0

    def __call__(self, name: str, doc: Document) -> None:
        """Take a result document."""
        if name != "stop":
            return
        ledger = doc["ledger"]
        self.runs += 1
        self.unbalanced += not ledger["balanced"]
        for book in ("received", "aligned", "degraded", "revised"):
            self.sums[book] += ledger[book]
        for book in ("skipped", "dropped"):
            for reason, count in ledger[book].items():
                self.sums[f"{book} ({reason})"] += count


def small_scan(side: int, particles: int, frames: int) -> SimSettings:
    """Make settings of a run of small frames."""
    return SimSettings.model_validate(
        {
            "shape": (side, side),
            "n_particles": particles,
            "radius_px": (side / 14, side / 10),
            "energies": tuple(float(e) for e in np.resize(ni_edge_energies(_ENERGIES), frames)),
            "jitter_px": 0.5,
            "drift_px": 1.0,
            "wander_px": 0.5,
        }
    )


def endless(recycled: Recycled, frames: int) -> Iterator[NamedDocument]:
    """Yield as many runs as give so many frames: most of named samples, some of none."""
    for number in range(-(-frames // recycled.frames)):
        sample = None if number % 3 == 0 else f"cell {number}"
        for named, _ in recycled.run(sample):
            yield named


def soak_service(
    recycled: Recycled, frames: int, *, tiled: bool, progress: Progress = no_progress
) -> tuple[SoakFigures, str]:
    """Send many runs through a service in this process, and look at it now and then.

    Parameters
    ----------
    recycled : run that comes again and again. frames : sample frames in all.
    tiled : write the results to a real Tiled server, else to nowhere.

    Returns
    -------
    The figures, and what became of the documents for the sink, in words.
    """
    ledgers = Ledgers()
    with ExitStack() as stack:
        processor = StreamProcessor(load_settings("sim_txm"))
        stack.callback(processor.close)
        sink = BufferedSink(_tiled_sink(stack) if tiled else lambda _name, _doc: None)
        stack.callback(sink.close, 120.0)
        size = max(doc["data"][IMAGE_KEY].nbytes for _, doc in recycled.documents if "data" in doc)
        source = make_source("memory", documents=endless(recycled, frames), max_bytes=16 * size)
        monitor = Monitor(source)
        for subscriber in (sink, monitor.results, ledgers):
            processor.subscribe(subscriber)
        stack.enter_context(monitor.serving(("127.0.0.1", 0)))
        stack.enter_context(source)
        service = Service(source, monitor.watch(processor, {}))
        figures = measure_soak(
            lambda: -1 if source.exhausted else service.step(), frames, ledgers, progress
        )
        complete, counts = sink.flush(300.0), sink.counts
    return figures, (
        f"{counts.delivered} of {counts.received} delivered, {counts.stripped} stripped, "
        f"{counts.dropped} dropped, {counts.errors} errors, complete: {complete}"
    )


def _tiled_sink(stack: ExitStack) -> TiledSink:
    from ....callbacks.tiled.sink import TiledSink

    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="operando-soak-"))
    return TiledSink(stack.enter_context(EmbeddedTiled(folder)).uri)


def soak_table(figures: SoakFigures) -> Table:
    """Lay out what the process held early on, and at the end."""
    lines = {
        "resident memory, MB": lambda held: f"{held.rss / 1e6:.1f}",
        "descriptors": lambda held: str(held.descriptors),
        "threads": lambda held: str(held.threads),
    }
    rows = [{"": n, "warm": f(figures.warm), "end": f(figures.end)} for n, f in lines.items()]
    columns = (Column("", ""), Column("warm", "after a tenth"), Column("end", "at the end"))
    return Table("held by the process", columns, rows)


def measure_soak(
    step: Callable[[], int],
    frames: int,
    ledgers: Ledgers,
    progress: Progress = no_progress,
) -> SoakFigures:
    """Turn a service until its source is exhausted, and look at this process twenty times.

    Parameters
    ----------
    step : processes what has queued up; returns how many documents, -1 if nothing can come.
    frames : sample frames that will come.
    ledgers : is subscribed to the results.
    progress : tells the frames so far, and what the process held when last looked at.
    """
    marks: list[tuple[int, Resources]] = []
    due = [round(frames * (n + 1) / _MARKS) for n in range(_MARKS)]
    phase = "frames"
    while step() >= 0:
        done = ledgers.sums["received"]
        if due and done >= due[0]:
            held = resources_of()
            marks.append((done, held))
            due = [mark for mark in due if mark > done]
            phase = f"{held.rss / 1e6:.1f} MB, {held.descriptors} descriptors"
        progress(phase, done, frames)
    marks.append((ledgers.sums["received"], resources_of()))
    warm = [mark for mark in marks if mark[0] >= _WARM * frames]
    return SoakFigures(
        frames=ledgers.sums["received"],
        runs=ledgers.runs,
        warm=warm[0][1],
        end=marks[-1][1],
        bytes_per_1000=_slope(warm),
        ledger=dict(ledgers.sums),
        unbalanced=ledgers.unbalanced,
        marks=marks,
    )


def _slope(marks: list[tuple[int, Resources]]) -> float:
    if len(marks) < 2:
        return float("nan")
    frames, held = zip(*((n, float(r.rss)) for n, r in marks), strict=True)
    slope: Any = np.polyfit(frames, held, 1)[0]
    return float(1000 * slope)
