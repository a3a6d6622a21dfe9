"""Many runs through one service, to see what grows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.frames import Document, NamedDocument
from ..simulate import SimSettings, ni_edge_energies
from .load import Recycled, Resources, resources_of

_MARKS = 20

_WARM = 0.1  # of the frames; until then caches fill


@dataclass(frozen=True, slots=True, kw_only=True)
class SoakFigures:
    """What was measured.

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
    """Settings of a run of small frames."""
    return SimSettings.model_validate(
        {
            "shape": (side, side),
            "n_particles": particles,
            "radius_px": (side / 14, side / 10),
            "energies": tuple(float(e) for e in np.resize(ni_edge_energies(40), frames)),
            "jitter_px": 0.5,
            "drift_px": 1.0,
            "wander_px": 0.5,
        }
    )


def endless(recycled: Recycled, frames: int) -> Iterator[NamedDocument]:
    """Documents of as many runs as give so many frames: most of named samples, some of none."""
    for number in range(-(-frames // recycled.frames)):
        sample = None if number % 3 == 0 else f"cell {number}"
        for named, _ in recycled.run(sample):
            yield named


def measure_soak(
    step: Callable[[], int],
    frames: int,
    ledgers: Ledgers,
    progress: Callable[[int, Resources | None], object] = lambda _frames, _held: None,
) -> SoakFigures:
    """Turn a service until its source is exhausted, and look at this process twenty times.

    Parameters
    ----------
    step : processes what has queued up; returns how many documents, -1 if nothing can come.
    frames : sample frames that will come.
    ledgers : is subscribed to the results.
    progress : is called with the frames so far and, twenty times, with what the process holds.
    """
    marks: list[tuple[int, Resources]] = []
    due = [round(frames * (n + 1) / _MARKS) for n in range(_MARKS)]
    while step() >= 0:
        done = ledgers.sums["received"]
        held = resources_of() if due and done >= due[0] else None
        if held is not None:
            marks.append((done, held))
            due = [mark for mark in due if mark > done]
        progress(done, held)
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
