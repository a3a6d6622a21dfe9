"""Trainings on disk, to go on with later."""

from __future__ import annotations

import math
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ....models.networks import ood
from ....models.networks.nets import Generator
from ....models.networks.weights import store
from ...errors import TrainingError

_FORMAT = 1
_AT_A_TIME = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingCheckpoint:
    """Where a training stands.

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


def save(path: Path, checkpoint: TrainingCheckpoint) -> None:
    """Write a checkpoint; an older one is replaced only by a whole one."""
    content = {name: getattr(checkpoint, name) for name in TrainingCheckpoint.__slots__}
    beside = path.with_suffix(".new")
    torch.save({"format": _FORMAT, **content}, beside)
    os.replace(beside, path)  # noqa: PTH105 - atomic, also over an existing file


def load(path: Path) -> TrainingCheckpoint:
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


# What a training leaves: a file of weights that says what they are.


def rounded(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights as they will be in the file, which holds float16: these are what must be scored."""
    return {k: t.half().float() if t.is_floating_point() else t for k, t in weights.items()}


def write_weights(
    path: Path,
    network: str,
    tensors: Mapping[str, Tensor],
    about: Mapping[str, Any],
    scores: Mapping[str, float],
) -> None:
    """Write the weights of one network, with what they were made with and how good they are.

    Parameters
    ----------
    path : file. network : its name in `SHIPPED`.
    tensors : its weights, and further ones.
    about : what they were made with. scores : on held-out scenes.
    """
    note = {
        **about,
        "scores": {k: round(v, 5) for k, v in scores.items() if math.isfinite(v)},
        "version": version("operando"),
        "torch": torch.__version__,
    }
    store(path, network, tensors, note)


@torch.inference_mode()
def features_of(generator: Generator, frames: Tensor, device: torch.device) -> Tensor:
    """Features (N, C) of frames (N, 1, S, S), for telling later whether a frame is like these."""
    generator.eval()
    parts = frames.split(_AT_A_TIME)
    found = [generator.translate(some.to(device, torch.float32))[1].cpu() for some in parts]
    return torch.cat(found)


def familiar(seen: Tensor, held_out: Tensor) -> tuple[dict[str, Tensor], float]:
    """Statistics of the features of training frames, and how many others they call unfamiliar.

    Parameters
    ----------
    seen, held_out : (N, C), see `features_of`.

    Returns
    -------
    Tensors for the file of weights, and the share of held-out frames beyond their threshold.
    """
    tensors = ood.fit(seen)
    beyond = ood.distance(held_out, tensors) > tensors["ood.threshold"]
    return tensors, float(beyond.float().mean())
