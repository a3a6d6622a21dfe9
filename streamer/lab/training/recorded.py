"""Take frames of a beamline, recorded or imported, as the generator sees them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ....models.networks.inputs import frame_input
from ...config import Settings
from ...core.frames import NamedDocument
from ...errors import RecordingError
from ...io.importers import import_documents
from ...io.recording.reader import list_recordings, read_documents
from ..evaluate.similarity import od_stack
from .pool import CELLS, Pool
from .sets import IGNORED, FrameSet

_LEAST_VALID = 0.5
_DRAWS = 20


def recorded_stacks(source: Path, settings: Settings) -> Iterator[NDArray[np.float32]]:
    """Compute the optical density of each run in a recording, or in a folder of frames.

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
    """Take crops of the frames in a recording or a folder; see `stack_crops`.

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
    """Draw random crops of frames, each scaled by its whole frame as in the live path.

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
    """Choose corners of crops of which at least half is valid, cells."""
    last = [n // step - CELLS for n in valid.shape]
    side = CELLS * step
    drawn = rng.integers(0, [last[0] + 1, last[1] + 1], (_DRAWS, 2)).tolist()
    return [
        (y, x)
        for y, x in drawn
        if valid[y * step : y * step + side, x * step : x * step + side].mean() >= _LEAST_VALID
    ]


# Two domains that share no scene: frames, and masks of other frames.


@dataclass(frozen=True, slots=True, kw_only=True)
class Domains:
    """Domains that a Cycle-GAN translates between; rows do not belong together.

    Attributes
    ----------
    frames : (N, 1, 128, 128) float16, input of the generator; domain A.
    masks : (M, 1, 128, 128) uint8, 0 or 1, with seams; domain B.
    frame_seeds, mask_seeds : (N, 2), (M, 2) int64, of the scenes; an imported frame has (-1, -1).
    """

    frames: NDArray[np.float16]
    masks: NDArray[np.uint8]
    frame_seeds: NDArray[np.int64]
    mask_seeds: NDArray[np.int64]

    def frame_set(self) -> FrameSet:
        """Return both domains, cut to the same number of rows."""
        n = min(len(self.frames), len(self.masks))
        image, mask = torch.from_numpy(self.frames[:n]), torch.from_numpy(self.masks[:n])
        return FrameSet(image=image, mask=mask)


def unpaired(pool: Pool, seed: int = 0) -> Domains:
    """Take the frames of one half of a pool, and the masks of the other half.

    Scenes that share a microscope and particles go to the same half; those that show no particle
    in their mask are left out of the masks.

    Raises
    ------
    ValueError
        If the pool has scenes of fewer than two groups.
    """
    groups = np.unique(pool.seeds[:, 0])
    if len(groups) < 2:
        raise ValueError(
            f"unpaired domains: wanted scenes of two groups or more, got {len(groups)}; "
            "make a larger pool"
        )
    rng = np.random.default_rng(seed)
    first = np.isin(pool.seeds[:, 0], rng.permutation(groups)[: (len(groups) + 1) // 2])
    return Domains(
        frames=pool.frames[first],
        frame_seeds=pool.seeds[first],
        **_masks(pool, np.flatnonzero(~first), rng),
    )


def adapting(frames: NDArray[np.float16], pool: Pool, seed: int = 0) -> Domains:
    """Pair the frames of a beamline with masks of simulated ones, to adapt a generator to it.

    Parameters
    ----------
    frames : (N, 1, 128, 128) float16, see `recorded_crops`. pool : of which the masks are taken.
    """
    rng = np.random.default_rng(seed)
    return Domains(
        frames=frames,
        frame_seeds=np.full((len(frames), 2), -1, np.int64),
        **_masks(pool, np.arange(len(pool.masks)), rng),
    )


def _masks(pool: Pool, rows: NDArray[np.int64], rng: np.random.Generator) -> dict[str, NDArray]:
    # a mask has all particles: that one of them cannot be seen concerns the frame alone
    clean = np.where(pool.masks[rows] == IGNORED, 1, pool.masks[rows]).astype(np.uint8)
    filled = clean.any(axis=(1, 2, 3))
    order = rng.permutation(int(filled.sum()))
    return {"masks": clean[filled][order], "mask_seeds": pool.seeds[rows][filled][order]}
