"""What has come out so far, for people who watch: counts, particles, latency."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..streamer.frames import Document


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
        self._streams: dict[str, tuple[str, str]] = {}
        self._max_runs = max_runs
        self._max_latencies = max_latencies

    @property
    def newest(self) -> RunSummary | None:
        """The run that began last, if any."""
        return next(reversed(self.runs.values()), None)

    def __call__(self, name: str, doc: Document) -> None:
        """Take a result document into account."""
        if name == "start":
            self._start(doc)
        elif name == "descriptor":
            self._streams[doc["uid"]] = (doc["run_start"], doc["name"])
        elif name == "event":
            uid, stream = self._streams[doc["descriptor"]]
            take = {"frames": self._frame, "particles": self._particle}.get(stream)
            if take is not None:
                take(self.runs[uid], doc["data"])
        elif name == "stop":
            self.runs[doc["run_start"]].stop = doc
            ended = [k for k, (uid, _) in self._streams.items() if uid == doc["run_start"]]
            for key in ended:
                del self._streams[key]

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
