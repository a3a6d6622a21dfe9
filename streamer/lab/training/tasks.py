"""The tasks of a job, with their data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...config import load_settings
from ...errors import TrainingError
from .job import Job
from .loop import Task
from .paired import DualTask, PairedTask
from .pool import Data
from .recorded import adapting, recorded_crops, unpaired
from .unpaired import CycleTask

NETWORKS: Mapping[str, str] = {"dual-unet": "dual_unet", "cyclegan": "generator"}
"""Which network of its task a job is for."""


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
    size = {"width": job.width, "blocks": job.blocks}
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


def arguments_of(job: Job) -> dict[str, int]:
    """Arguments of the class of the network."""
    if job.network == "dual-unet":
        return {"width": job.width}
    return {"width": job.width, "blocks": job.blocks}


def read_recorded(job: Job) -> NDArray[np.float16] | None:
    """Crops of the recording of a job; None if it has none.

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
