"""Subscribers of results: one stream for bluesky's callbacks, advice in the log, a summary."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..streamer.core.frames import Document
from ..streamer.core.streams import Streams

PRIMARY = "primary"
logger = logging.getLogger(__name__)
_LEVELS = {"alarm": logging.WARNING, "warning": logging.INFO}


class OneStream:
    """Hands one stream of result documents to a callback, under the name ``primary``.

    Callbacks of bluesky show the stream ``primary``: `LivePlot` and `PeakStats` no other, and
    ``BestEffortCallback`` fills its table from no other. Results have none of that name.

    Parameters
    ----------
    callback : called with ``(name, doc)``.
    stream : ``frames``, ``particles``, ``spectra`` or ``maps``.
    where : values that an event must have to be handed on.

    Examples
    --------
    >>> processor.subscribe(OneStream(BestEffortCallback()))  # doctest: +SKIP
    >>> plot = LivePlot("y", "frame")  # doctest: +SKIP
    >>> processor.subscribe(OneStream(plot, "particles", where={"particle": 3}))  # doctest: +SKIP
    """

    def __init__(
        self,
        callback: Callable[[str, Document], Any],
        stream: str = "frames",
        where: Mapping[str, Any] | None = None,
    ) -> None:
        self._callback = callback
        self._stream = stream
        self._where = dict(where or {})
        self._streams = Streams()

    def __call__(self, name: str, doc: Document) -> None:
        """Hand on a document, if it belongs to the stream."""
        self._streams = self._streams.updated(name, doc)
        if name == "start":
            self._callback(name, self._start(doc))
        elif name == "descriptor" and doc["name"] == self._stream:
            self._callback(name, {**doc, "name": PRIMARY})
        elif name == "stop" or (name == "event" and self._wanted(doc)):
            self._callback(name, doc)

    def _wanted(self, doc: Document) -> bool:
        if self._streams.of(doc)[1] != self._stream:
            return False
        return all(doc["data"].get(key) == want for key, want in self._where.items())

    def _start(self, doc: Document) -> Document:
        # LiveTable ends with a line that needs these, which not every raw run has
        doc = {"scan_id": 0, "plan_type": "generator", **doc}
        hints = doc.get("hints", {})
        dimensions = [(fields, PRIMARY) for fields, _stream in hints.get("dimensions", ())]
        return {**doc, "hints": {**hints, "dimensions": dimensions}} if dimensions else doc


def log_advice(name: str, doc: Mapping[str, Any]) -> None:
    """Log advice: alarms as warnings, warnings as information; moves are left out."""
    data = doc["data"] if name == "event" else {}
    level = _LEVELS.get(data.get("severity", ""))
    if level is not None:
        logger.log(level, "frame %d: %s", data["frame"], data["message"])


@dataclass(slots=True)
class ParticleSummary:
    """One particle of a run: frames in which it has rows, last displacement (px) and state."""

    frames: set[int] = field(default_factory=set)
    displacement_y: float = float("nan")
    displacement_x: float = float("nan")
    path_length: float = float("nan")
    area: float = float("nan")
    state: str = ""


@dataclass(slots=True)
class RunSummary:
    """One result run.

    Attributes
    ----------
    frames : newest frame number plus one. revised : final values so far.
    latencies : s, of the last frames.
    """

    uid: str
    raw: str
    sample: str
    frames: int = 0
    revised: int = 0
    energy: float = float("nan")
    drift: tuple[float, float] = (float("nan"), float("nan"))
    statuses: dict[str, int] = field(default_factory=dict)
    particles: dict[int, ParticleSummary] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)
    stop: Document | None = None


class ResultSummary:
    """Callback on result documents that keeps a few numbers of each run.

    Parameters
    ----------
    max_runs : older runs are forgotten.
    max_latencies : number of latencies kept of a run.
    """

    def __init__(self, max_runs: int = 32, max_latencies: int = 100_000) -> None:
        self.runs: dict[str, RunSummary] = {}
        self._streams = Streams()
        self._max_runs = max_runs
        self._max_latencies = max_latencies

    @property
    def newest(self) -> RunSummary | None:
        """Return the run that began last, if any."""
        return next(reversed(self.runs.values()), None)

    def __call__(self, name: str, doc: Document) -> None:
        """Take a result document into account."""
        self._streams = self._streams.updated(name, doc)
        if name == "start":
            self._start(doc)
        elif name == "event":
            uid, stream = self._streams.of(doc)
            take = {"frames": self._frame, "particles": self._particle}.get(stream)
            if take is not None:
                take(self.runs[uid], doc["data"])
        elif name == "stop":
            self.runs[doc["run_start"]].stop = doc

    def _start(self, doc: Document) -> None:
        self.runs.pop(doc["uid"], None)
        self.runs[doc["uid"]] = RunSummary(
            uid=doc["uid"], raw=doc["original_run_uid"], sample=str(doc.get("sample", ""))
        )
        while len(self.runs) > self._max_runs:
            del self.runs[next(iter(self.runs))]

    def _frame(self, run: RunSummary, data: dict[str, Any]) -> None:
        run.frames = max(run.frames, data["frame"] + 1)
        run.energy = data["energy"]
        run.drift = (data["drift_y"], data["drift_x"])
        if data["revision"] > 0:
            run.revised += 1
            return
        run.statuses[data["status"]] = run.statuses.get(data["status"], 0) + 1
        run.latencies.append(data["latency"])
        del run.latencies[: -self._max_latencies]

    def _particle(self, run: RunSummary, data: dict[str, Any]) -> None:
        particle = run.particles.setdefault(data["particle"], ParticleSummary())
        particle.frames.add(data["frame"])
        particle.state = data["state"]
        if data["state"] in ("tracked", "tentative"):
            particle.displacement_y = data["displacement_y"]
            particle.displacement_x = data["displacement_x"]
            particle.path_length = data["path_length"]
            particle.area = data["area"]
