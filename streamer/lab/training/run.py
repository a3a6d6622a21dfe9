"""Runs a training from the first scene to the file of weights; can be stopped and gone on with."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ....models.networks.nets import Generator
from ....models.networks.weights import SHIPPED
from ...errors import TrainingError
from . import checkpoint as checkpoints
from .checkpoint import TrainingCheckpoint, familiar, features_of, rounded, write_weights
from .job import Job, read_start
from .loop import Progress, Training, rate_at
from .pool import Data, PoolProgress, make_data
from .tasks import NETWORKS, arguments_of, make_task, read_recorded

CHECKPOINT = "checkpoint.pt"
LOG = "log.csv"
_REPORT_EVERY = 20  # steps
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Where a training stands.

    Attributes
    ----------
    phase : ``paired`` or ``unpaired``. progress : of its loop. steps : that it will take.
    seconds : since the training began, without pauses between its sessions.
    """

    phase: str
    progress: Progress
    steps: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Who follows a training.

    Attributes
    ----------
    data : is told of scenes that are made. report : is told of every 20 steps and every score.
    stop : asked as often; True ends the training with a checkpoint.
    """

    data: PoolProgress = lambda *_: None
    report: Callable[[Report], None] = lambda _: None
    stop: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a training ended.

    Attributes
    ----------
    weights : the file; None if it was stopped, and can be resumed.
    scores : of these weights on held-out scenes.
    """

    weights: Path | None
    scores: Mapping[str, float]


def read_checkpoint(folder: Path) -> TrainingCheckpoint:
    """Read the checkpoint of a training in this folder; raises TrainingError if there is none."""
    return checkpoints.load(folder / CHECKPOINT)


def run(
    job: Job,
    folder: Path,
    *,
    device: torch.device,
    workers: int = 1,
    pools: Path | None = None,
    resume: TrainingCheckpoint | None = None,
    watch: Watch | None = None,
) -> Outcome:
    """Train, and write checkpoint.pt, log.csv and the weights.

    Parameters
    ----------
    job : what is to be done.
    folder : where to.
    device : where networks run. workers : processes that simulate scenes.
    pools : where scenes are kept; None for `folder`.
    resume : of the same job; see `read_checkpoint`.
    watch : who follows it.

    Raises
    ------
    TrainingError
        If the folder holds another training, or the losses become infinite.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if resume is None and (folder / CHECKPOINT).exists():
        raise TrainingError(
            f"{folder} holds a training already; go on with --resume, or choose another --out"
        )
    watch = watch or Watch()
    data = make_data(job, pools or folder, workers, watch.data)
    return _Run(job, folder, device, data, read_recorded(job), watch).all(resume)


class _Run:
    """One session of a training."""

    def __init__(
        self,
        job: Job,
        folder: Path,
        device: torch.device,
        data: Data,
        recorded: NDArray[np.float16] | None,
        watch: Watch,
    ) -> None:
        self._job, self._folder, self._device = job, folder, device
        self._data, self._recorded, self._watch = data, recorded, watch
        self._began = time.monotonic()

    def all(self, resume: TrainingCheckpoint | None) -> Outcome:
        """All phases that are left, and the file of weights."""
        phases = self._job.phases
        keep = None
        if resume is not None:
            phases = phases[phases.index(resume.phase) :]
            keep = resume.phase, int(resume.training["step"])
            self._began -= resume.seconds
        log = TrainingLog(self._folder / LOG, self._job.phases, keep)
        try:
            training = self._phases(phases, resume, log)
        finally:
            log.close()
        return Outcome(weights=None, scores={}) if training is None else self._finish(training)

    def _phases(
        self, phases: tuple[str, ...], resume: TrainingCheckpoint | None, log: TrainingLog
    ) -> Training | None:
        """The last training; None if it was stopped."""
        # what a resumed training began with is in its checkpoint
        given = self._job.start if resume is None else None
        start = read_start(given)[0] if given is not None else None
        training = None
        for phase in phases:
            training = self._training(phase, start, resume)
            resume = None
            if not self._phase(phase, training, log):
                return None
            start = training.weights[NETWORKS[self._job.network]]
        return training

    def _training(
        self, phase: str, start: Mapping[str, Tensor] | None, resume: TrainingCheckpoint | None
    ) -> Training:
        job = self._job
        task = make_task(phase, job, self._data, self._recorded, self._device, start)
        training = Training(task=task, settings=job.settings(phase))
        if resume is not None:
            training.restore(resume.training)
        return training

    def _phase(self, phase: str, training: Training, log: TrainingLog) -> bool:
        """Train to the end of a phase; False if it is stopped before."""
        if training.step == 0 and not training.weights:
            self._tell(phase, training.judge(), log)
            if phase == "unpaired" and self._recorded is not None:
                # simulated scenes cannot tell what is gained on recorded ones: the best after
                # some adaptation counts, even if the start was better on these
                training.best = -math.inf
        for progress in training.run(_REPORT_EVERY):
            self._tell(phase, progress, log)
            stopping = self._watch.stop()
            if progress.scores or stopping:
                self._save(phase, training)
            if stopping and not training.ended:
                return False
        self._save(phase, training)
        return True

    def _tell(self, phase: str, progress: Progress, log: TrainingLog) -> None:
        wrong = [name for name, loss in progress.losses.items() if not math.isfinite(loss)]
        if wrong:
            raise TrainingError(
                f"{phase} step {progress.step}: the loss {wrong[0]!r} is not finite; start again "
                "with a lower --rate, or go on from the last checkpoint"
            )
        settings = self._job.settings(phase)
        seconds = time.monotonic() - self._began
        values = {**progress.losses, **progress.scores}
        log.write(phase, progress.step, rate_at(progress.step, settings), seconds, values)
        self._watch.report(
            Report(phase=phase, progress=progress, steps=settings.steps, seconds=seconds)
        )

    def _save(self, phase: str, training: Training) -> None:
        checkpoints.save(
            self._folder / CHECKPOINT,
            TrainingCheckpoint(
                job=self._job.model_dump(mode="json"),
                phase=phase,
                training=training.state(),
                seconds=time.monotonic() - self._began,
            ),
        )

    def _finish(self, training: Training) -> Outcome:
        name = NETWORKS[self._job.network]
        network = training.task.networks[name]
        tensors = rounded(training.weights[name])
        network.load_state_dict(tensors)
        scores = dict(training.task.score())
        about: dict[str, Any] = {
            "arguments": arguments_of(self._job),
            "job": self._job.model_dump(mode="json"),
            "best_step": training.best_step,
            "simulated_by": self._data.code,
            "minutes": round((time.monotonic() - self._began) / 60, 1),
            "device": self._device.type,
        }
        if isinstance(network, Generator):
            known, about["unfamiliar_held_out"] = self._known(network)
            tensors = tensors | known
        path = self._folder / SHIPPED[name]
        write_weights(path, name, tensors, about, scores)
        return Outcome(weights=path, scores=scores)

    def _known(self, network: Generator) -> tuple[dict[str, Tensor], float]:
        """Statistics of what the network was trained with, for telling what is unlike it."""
        seen = torch.from_numpy(self._data.train.frames)
        if self._recorded is not None:
            seen = torch.cat([seen, torch.from_numpy(self._recorded)])
        held_out = torch.from_numpy(self._data.held_out.frames)
        return familiar(
            features_of(network, seen, self._device), features_of(network, held_out, self._device)
        )


# The course of a training as a table: log.csv.


class TrainingLog:
    """Rows of `COLUMNS`; each is in the file as soon as it is written.

    Parameters
    ----------
    path : file; one that is there is replaced.
    keep : phase and step up to which rows of an existing file are kept: it may hold later ones,
        written after the checkpoint that is gone on with.
    phases : names of all phases in their order.
    """

    def __init__(
        self, path: Path, phases: tuple[str, ...], keep: tuple[str, int] | None = None
    ) -> None:
        rows = _before(path, phases, keep) if keep is not None and path.exists() else []
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


def _before(path: Path, phases: tuple[str, ...], last: tuple[str, int]) -> list[dict[str, str]]:
    """Rows that are not later than a phase and step."""
    limit = (phases.index(last[0]), last[1])
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    try:
        return [row for row in rows if (phases.index(row["phase"]), int(row["step"])) <= limit]
    except (KeyError, ValueError) as error:
        raise TrainingError(
            f"{path}: wanted the log of the training that is resumed, got {error}; move it away"
        ) from error
