"""Two domains that share no scene: frames, and masks of other frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ...models.training.frame_set import IGNORED, FrameSet
from .pool import Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class Domains:
    """What a Cycle-GAN translates between; rows do not belong together.

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
        """Both domains, cut to the same number of rows."""
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
