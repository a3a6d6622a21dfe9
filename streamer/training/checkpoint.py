"""Trainings on disk, to go on with later."""

from __future__ import annotations

import os
import pickle  # only the name of its exception: nothing is ever unpickled
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..errors import TrainingError

_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
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


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; an older one is replaced only by a whole one."""
    content = {name: getattr(checkpoint, name) for name in Checkpoint.__slots__}
    beside = path.with_suffix(".new")
    torch.save({"format": _FORMAT, **content}, beside)
    os.replace(beside, path)  # noqa: PTH105 - atomic, also over an existing file


def load(path: Path) -> Checkpoint:
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
        found = Checkpoint(**content)
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
