"""The loop that all trainings share, and its checkpoints."""

from __future__ import annotations

import csv
import math
import os
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from ...errors import TrainingError
from .job import TrainSettings

Weights = dict[str, dict[str, torch.Tensor]]
_FORMAT = 1  # of checkpoints
LOSSES = ("loss", "clean", "mask", "cycle", "identity", "fooled", "judged")
SCORES = (
    "quality",
    "iou",
    "hit",
    "false",
    "f1",
    "precision",
    "recall",
    "centre",
    "held_out_loss",
)
COLUMNS: tuple[str, ...] = ("phase", "step", "rate", "seconds", *LOSSES, *SCORES)


class Task(Protocol):
    """One network, or several that are trained against each other, with their data.

    Attributes
    ----------
    networks : by name; what is saved.
    aim : key of `score` that is to become large; training keeps the weights of its best value.
    """

    networks: dict[str, nn.Module]
    aim: str

    def step(self, rate: float) -> Mapping[str, float]:
        """Take one step at this learning rate; returns the losses."""
        ...

    def score(self) -> Mapping[str, float]:
        """Score on held-out data."""
        ...

    def state(self) -> dict[str, Any]:
        """Return all that `restore` needs, as tensors and plain data."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Steps, losses and scores of a training so far.

    Attributes
    ----------
    step : steps taken.
    losses : means since the progress before.
    scores : on held-out data; empty between scores.
    best : best value of the aim so far; it came at step `best_step`.
    improved : this one is the best so far.
    """

    step: int
    losses: Mapping[str, float]
    scores: Mapping[str, float] = field(default_factory=dict)
    best: float = -math.inf
    best_step: int = 0
    improved: bool = False


@dataclass(slots=True, kw_only=True)
class Training:
    """A training that can be interrupted, saved and resumed.

    Attributes
    ----------
    task : what is trained.
    settings : of the loop.
    step : steps taken. best, best_step : best score so far, and when. weights : those of it.
    """

    task: Task
    settings: TrainSettings
    step: int = 0
    best: float = -math.inf
    best_step: int = 0
    weights: Weights = field(default_factory=dict)

    def run(self, every: int = 20) -> Iterator[Progress]:
        """Train; yield every `every` steps, and at each held-out score.

        Ends after ``settings.steps`` steps, or after ``settings.patience`` scores in a row that are
        not the best: the held-out score decides, never a loss.
        """
        s = self.settings
        sums: dict[str, float] = {}
        count = 0
        while not self.ended:
            for name, value in self.task.step(rate_at(self.step, s)).items():
                sums[name] = sums.get(name, 0.0) + value
            count += 1
            self.step += 1
            due = self.step % s.score_every == 0 or self.step == s.steps
            if not due and self.step % every:
                continue
            losses = {name: total / count for name, total in sums.items()}
            sums, count = {}, 0
            yield self.judge(losses) if due else self._progress(losses)
            if self.ended:
                return

    @property
    def ended(self) -> bool:
        """Return True if all steps are taken, or the best score is too long ago."""
        s = self.settings
        scored = self.step % s.score_every == 0
        late = scored and self.step - self.best_step >= s.patience * s.score_every
        return late or self.step >= s.steps

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs, as tensors and plain data."""
        return {
            "task": self.task.state(),
            "step": self.step,
            "best": self.best,
            "best_step": self.best_step,
            "weights": self.weights,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where a training of the same task stood."""
        self.task.restore(state["task"])
        self.step, self.best = int(state["step"]), float(state["best"])
        self.best_step, self.weights = int(state["best_step"]), state["weights"]

    def judge(self, losses: Mapping[str, float] | None = None) -> Progress:
        """Score the networks as they are, and keep their weights if they are the best so far."""
        scores = self.task.score()
        improved = scores[self.task.aim] > self.best
        if improved:
            self.best, self.best_step = scores[self.task.aim], self.step
            self.weights = {
                name: {k: v.detach().cpu().clone() for k, v in network.state_dict().items()}
                for name, network in self.task.networks.items()
            }
        return self._progress(losses or {}, scores, improved=improved)

    def _progress(
        self,
        losses: Mapping[str, float],
        scores: Mapping[str, float] | None = None,
        *,
        improved: bool = False,
    ) -> Progress:
        return Progress(
            step=self.step,
            losses=losses,
            scores=scores or {},
            best=self.best,
            best_step=self.best_step,
            improved=improved,
        )


def rate_at(step: int, settings: TrainSettings) -> float:
    """Compute the rate: a linear warm-up, then half a cosine down to 1 % of the highest."""
    if step < settings.warmup:
        return settings.rate * (step + 1) / settings.warmup
    share = (step - settings.warmup) / max(settings.steps - settings.warmup, 1)
    return settings.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(share, 1.0))))


# Trainings on disk, to go on with later.


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingCheckpoint:
    """State of a job that was interrupted.

    Attributes
    ----------
    job : fields of the `Job`.
    phase : of the training, see `phases`.
    training : state of its `Training`.
    seconds : spent so far.
    """

    job: Mapping[str, Any]
    phase: str
    training: Mapping[str, Any]
    seconds: float


def save_checkpoint(path: Path, checkpoint: TrainingCheckpoint) -> None:
    """Write a checkpoint; an older one is replaced only by a whole one."""
    content = {name: getattr(checkpoint, name) for name in TrainingCheckpoint.__slots__}
    beside = path.with_suffix(".new")
    torch.save({"format": _FORMAT, **content}, beside)
    os.replace(beside, path)  # noqa: PTH105 - atomic, also over an existing file


def load_checkpoint(path: Path) -> TrainingCheckpoint:
    """Read a checkpoint; nothing in it is run.

    Raises
    ------
    TrainingError
        If there is none, or it is damaged, of another version, or holds anything but tensors and
        plain data.
    """
    if not path.exists():
        raise TrainingError(f"nothing to resume: {path} does not exist; leave out --resume")
    try:
        # weights_only: a checkpoint is data; one that wants code to be run is refused
        content = torch.load(path, map_location="cpu", weights_only=True)
        form = content.pop("format")
        found = TrainingCheckpoint(**content)
    except (
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        OSError,
        KeyError,
        TypeError,
        AttributeError,
        ValueError,
    ) as error:
        raise TrainingError(
            f"{path}: wanted a checkpoint of `operando train`, got a damaged or other file; start "
            "again in another folder"
        ) from error
    if form != _FORMAT:
        raise TrainingError(f"{path}: wanted format {_FORMAT}, got {form}; start again")
    return found


# The course of a training as a table: log.csv.


class TrainingLog:
    """Write rows of `COLUMNS`; each is in the file at once.

    Parameters
    ----------
    path : file; one that is there is replaced.
    keep : phase and step up to which rows of an existing file are kept: it may hold later ones,
        written after the checkpoint that is resumed.
    phases : names of all phases in their order.
    """

    def __init__(
        self, path: Path, phases: tuple[str, ...], keep: tuple[str, int] | None = None
    ) -> None:
        rows = _rows_until(path, phases, keep) if keep is not None and path.exists() else []
        self._file = path.open("w", newline="")
        self._writer = csv.DictWriter(self._file, COLUMNS)
        self._writer.writeheader()
        self._writer.writerows(rows)

    def write(
        self, phase: str, step: int, rate: float, seconds: float, values: Mapping[str, float]
    ) -> None:
        """Append a row; what `values` does not name stays empty."""
        row = {name: f"{value:.6g}" for name, value in values.items()}
        when = {"phase": phase, "step": step, "rate": f"{rate:.6g}", "seconds": f"{seconds:.1f}"}
        self._writer.writerow(when | row)
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _rows_until(path: Path, phases: tuple[str, ...], last: tuple[str, int]) -> list[dict[str, str]]:
    """Read the rows that are not later than a phase and step."""
    limit = (phases.index(last[0]), last[1])
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    try:
        return [row for row in rows if (phases.index(row["phase"]), int(row["step"])) <= limit]
    except (KeyError, ValueError) as error:
        raise TrainingError(
            f"{path}: wanted the log of the training that is resumed, got {error}; move it away"
        ) from error
