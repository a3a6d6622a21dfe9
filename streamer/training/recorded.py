"""Frames of a beamline, recorded or imported, as the generator sees them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ...models.networks.inputs import frame_input
from ..config import Settings
from ..errors import RecordingError
from ..evaluate.raw import od_stack
from ..frames import NamedDocument
from ..importers import import_documents
from ..recording.reader import list_recordings, read_documents
from .pool import CELLS

_LEAST_VALID = 0.5
_DRAWS = 20


def recorded_stacks(source: Path, settings: Settings) -> Iterator[NDArray[np.float32]]:
    """Optical density of each run in a recording, or in a folder of frames.

    Parameters
    ----------
    source : a recording, a folder of recordings, or data that `operando import` reads. Images
        must be in the documents.
    settings : of the beamline: `assemble` and `correct`.

    Yields
    ------
    (F, H, W) float32, NaN where invalid.

    Raises
    ------
    RecordingError, ImportDataError
        If nothing can be read there.
    """
    if source.is_dir() and not list_recordings(source):
        yield od_stack(import_documents(source), settings)
        return
    for run in _runs((item.name, item.doc) for item in read_documents(source)):
        yield od_stack(run, settings)


def _runs(documents: Iterable[NamedDocument]) -> Iterator[list[NamedDocument]]:
    run: list[NamedDocument] = []
    for name, doc in documents:
        if name == "start" and run:
            yield run
            run = []
        run.append((name, doc))
    if run:
        yield run


def recorded_crops(
    source: Path, settings: Settings, step: int = 2, per_frame: int = 4, seed: int = 0
) -> NDArray[np.float16]:
    """Crops of the frames in a recording or a folder; see `stack_crops`.

    Raises
    ------
    RecordingError
        If no frame there is of any use.
    """
    rng = np.random.default_rng(seed)
    crops = [
        stack_crops(stack, step, per_frame, rng) for stack in recorded_stacks(source, settings)
    ]
    made = np.concatenate([np.zeros((0, 1, CELLS, CELLS), np.float16), *crops])
    if not len(made):
        raise RecordingError(
            f"training crops: no valid frame in {source}; check its flats, or its profile"
        )
    return made


def stack_crops(
    stack: NDArray[np.float32], step: int, per_frame: int, rng: np.random.Generator
) -> NDArray[np.float16]:
    """Random crops of frames, each scaled by its whole frame as in the live path.

    Parameters
    ----------
    stack : (F, H, W) float32, OD, NaN where invalid.
    step : px per cell: choose it as for detection. per_frame : crops of each frame.
    rng : source of randomness.

    Returns
    -------
    (N, 1, 128, 128) float16; N is at most F times `per_frame`, as dark crops are left out.

    Raises
    ------
    ValueError
        If the frames have fewer than 128 cells.
    """
    least = CELLS * step
    if min(stack.shape[1:]) < least:
        raise ValueError(
            f"training crops: wanted frames of {least} x {least} px or more at {step} px per "
            f"cell, got {stack.shape[1]} x {stack.shape[2]}; use a smaller step"
        )
    crops = []
    for od in stack:
        valid = np.isfinite(od)
        frame = torch.from_numpy(np.where(valid, od, np.float32(0)))[None, None]
        seen = frame_input(frame, torch.from_numpy(valid)[None, None], step)[0, 0].numpy()
        spots = _spots(valid, step, rng)[:per_frame]
        crops += [seen[y : y + CELLS, x : x + CELLS].astype(np.float16) for y, x in spots]
    return np.array(crops, np.float16).reshape(-1, 1, CELLS, CELLS)


def _spots(valid: NDArray[np.bool_], step: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Corners of crops of which at least half is valid, cells."""
    last = [n // step - CELLS for n in valid.shape]
    side = CELLS * step
    drawn = rng.integers(0, [last[0] + 1, last[1] + 1], (_DRAWS, 2)).tolist()
    return [
        (y, x)
        for y, x in drawn
        if valid[y * step : y * step + side, x * step : x * step + side].mean() >= _LEAST_VALID
    ]
