"""What `operando train` shows while it runs."""

from __future__ import annotations

import threading
from types import TracebackType

from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ..training.job import Job
from ..training.run import Report
from .terminal import console, say

_AIMS = {"dual-unet": "quality", "cyclegan": "f1"}


class TrainProgress:
    """A bar for each part of a training, with its losses and the held-out score.

    Parameters
    ----------
    job : the training. stop : set when the user wants it to end.
    """

    def __init__(self, job: Job, stop: threading.Event) -> None:
        self._aim, self._stop = _AIMS[job.network], stop
        self._bars: dict[str, TaskID] = {}
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[values]}"),
            console=console(),
        )

    def __enter__(self) -> TrainProgress:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def data(self, what: str, done: int, of: int) -> None:
        """Show how many scenes are made; there is no checkpoint of them to stop with."""
        if self._stop.is_set():
            raise KeyboardInterrupt
        self._show(what, done, of, "")

    def report(self, report: Report) -> None:
        """Show a step; scores stay, in a line of their own."""
        progress = report.progress
        losses = " ".join(f"{name} {value:.3f}" for name, value in progress.losses.items())
        best = f"  best {self._aim} {progress.best:.4f}" if progress.best_step else ""
        self._show(report.phase, progress.step, report.steps, losses + best)
        if progress.scores:
            scores = " ".join(f"{name} {value:.4f}" for name, value in progress.scores.items())
            say(f"{report.phase} {progress.step}: {scores}", "green" if progress.improved else "")

    def _show(self, what: str, done: int, of: int, values: str) -> None:
        if what not in self._bars:
            self._bars[what] = self._bar.add_task(what, total=of, values="")
        self._bar.update(self._bars[what], completed=done, values=values)
