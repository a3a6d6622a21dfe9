"""Run a training from the first scene to the file of weights; it can be stopped and resumed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ....models.networks.nets import Generator
from ....models.networks.weights import SHIPPED, feature_distance, fit_features, store
from ...config import load_settings
from ...errors import TrainingError
from .job import Job, read_start
from .loop import (
    Progress,
    Task,
    Training,
    TrainingCheckpoint,
    TrainingLog,
    load_checkpoint,
    rate_at,
    save_checkpoint,
)
from .paired import DualTask, PairedTask
from .pool import Data, PoolProgress, make_data
from .recorded import adapting, recorded_crops, unpaired
from .unpaired import CycleTask

CHECKPOINT = "checkpoint.pt"
LOG = "log.csv"
_REPORT_EVERY = 20  # steps
_FRAMES_AT_A_TIME = 64
NETWORKS: Mapping[str, str] = {"dual-unet": "dual_unet", "cyclegan": "generator"}
"""Network of its task that a job is for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Progress of a job.

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
    """Callbacks that follow a training.

    Attributes
    ----------
    data : called for scenes that are made. report : called every 20 steps and with every score.
    stop : asked as often; True ends the training with a checkpoint.
    """

    data: PoolProgress = lambda *_: None
    report: Callable[[Report], None] = lambda _: None
    stop: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Result of a training.

    Attributes
    ----------
    weights : the file; None if it was stopped, and can be resumed.
    scores : of these weights on held-out scenes.
    """

    weights: Path | None
    scores: Mapping[str, float]


def read_checkpoint(folder: Path) -> TrainingCheckpoint:
    """Read the checkpoint of a training in this folder; raises TrainingError if there is none."""
    return load_checkpoint(folder / CHECKPOINT)


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
    watch : follows it.

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
        """Train all phases that are left, and write the file of weights."""
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
        """Return the last training; None if it was stopped."""
        # what a resumed training began with is in its checkpoint
        given = self._job.start if resume is None else None
        start = read_start(given)[0] if given is not None else None
        training = None
        for phase in phases:
            task = make_task(phase, self._job, self._data, self._recorded, self._device, start)
            training = Training(task=task, settings=self._job.settings(phase))
            if resume is not None:
                training.restore(resume.training)
                resume = None
            if not self._phase(phase, training, log):
                return None
            start = training.weights[NETWORKS[self._job.network]]
        return training

    def _phase(self, phase: str, training: Training, log: TrainingLog) -> bool:
        """Train to the end of a phase; False if it is stopped before."""
        if training.step == 0 and not training.weights:
            self._report(phase, training.judge(), log)
            if phase == "unpaired" and self._recorded is not None:
                # simulated scenes cannot tell what is gained on recorded ones: the best after
                # some adaptation counts, even if the start was better on these
                training.best = -math.inf
        for progress in training.run(_REPORT_EVERY):
            self._report(phase, progress, log)
            stopping = self._watch.stop()
            if progress.scores or stopping:
                self._save(phase, training)
            if stopping and not training.ended:
                return False
        self._save(phase, training)
        return True

    def _report(self, phase: str, progress: Progress, log: TrainingLog) -> None:
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
        save_checkpoint(
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
        # rounded as in the file, which holds float16: these are what must be scored
        tensors = {
            key: tensor.half().float() if tensor.is_floating_point() else tensor
            for key, tensor in training.weights[name].items()
        }
        network.load_state_dict(tensors)
        scores = dict(training.task.score())
        about: dict[str, Any] = {
            "arguments": network_size(self._job),
            "job": self._job.model_dump(mode="json"),
            "best_step": training.best_step,
            "simulated_by": self._data.code,
            "minutes": round((time.monotonic() - self._began) / 60, 1),
            "device": self._device.type,
        }
        if isinstance(network, Generator):
            known, about["unfamiliar_held_out"] = self._known(network)
            tensors = tensors | known
        about |= {
            "scores": {key: round(v, 5) for key, v in scores.items() if math.isfinite(v)},
            "version": version("operando"),
            "torch": torch.__version__,
        }
        path = self._folder / SHIPPED[name]
        store(path, name, tensors, about)
        return Outcome(weights=path, scores=scores)

    def _known(self, network: Generator) -> tuple[dict[str, Tensor], float]:
        """Fit statistics of the training frames, to detect frames that are unlike them.

        Returns
        -------
        Tensors for the file of weights, and the share of held-out frames beyond their threshold.
        """
        seen = torch.from_numpy(self._data.train.frames)
        if self._recorded is not None:
            seen = torch.cat([seen, torch.from_numpy(self._recorded)])
        tensors = fit_features(features_of(network, seen, self._device))
        held_out = torch.from_numpy(self._data.held_out.frames)
        away = feature_distance(features_of(network, held_out, self._device), tensors)
        return tensors, float((away > tensors["ood.threshold"]).float().mean())


# The tasks of a job, with their data.


def make_task(
    phase: str,
    job: Job,
    data: Data,
    recorded: NDArray[np.float16] | None,
    device: torch.device,
    start: Mapping[str, Tensor] | None,
) -> Task:
    """Make the task of one phase of a job.

    Parameters
    ----------
    phase : one of those of the job.
    data : simulated scenes. recorded : crops to adapt the generator to, see `recorded_crops`.
    device : where it runs.
    start : weights of the generator to begin with; None for random ones.
    """
    settings, held_out = job.settings(phase), data.held_out
    if job.network == "dual-unet":
        scenes = data.train.roi_set(), held_out.roi_set()
        return DualTask(*scenes, settings, device, width=job.width)
    size = network_size(job)
    frames = held_out.frame_set()
    if phase == "paired":
        task = PairedTask(data.train.frame_set(), frames, settings, device, **size)
        if start is not None:
            task.network.load_state_dict(dict(start))
        return task
    domains = (
        unpaired(data.train, job.seed)
        if recorded is None
        else adapting(recorded, data.train, job.seed)
    )
    a, b = torch.from_numpy(domains.frames), torch.from_numpy(domains.masks)
    return CycleTask(a, b, frames, settings, device, **size, start=start)


def network_size(job: Job) -> dict[str, int]:
    """Return the arguments of the class of the network."""
    if job.network == "dual-unet":
        return {"width": job.width}
    return {"width": job.width, "blocks": job.blocks}


def read_recorded(job: Job) -> NDArray[np.float16] | None:
    """Read crops of the recording of a job; None if it has none.

    Raises
    ------
    TrainingError
        If its frames are too small.
    """
    if job.recording is None:
        return None
    settings = load_settings(job.profile)
    step = settings.detect.networks.step
    try:
        return recorded_crops(Path(job.recording), settings, step=step, seed=job.seed)
    except ValueError as error:
        raise TrainingError(str(error)) from error


@torch.inference_mode()
def features_of(generator: Generator, frames: Tensor, device: torch.device) -> Tensor:
    """Compute features (N, C) of frames (N, 1, S, S), with which others are compared later."""
    generator.eval()
    parts = frames.split(_FRAMES_AT_A_TIME)
    found = [generator.translate(some.to(device, torch.float32))[1].cpu() for some in parts]
    return torch.cat(found)
