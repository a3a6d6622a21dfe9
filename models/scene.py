"""One frame while its particles are refined."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from .background import Background
from .masks import grow
from .pyramid import USABLE, Level
from .refine import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One frame while its particles are refined.

    Attributes
    ----------
    levels : the frame at all resolutions.
    background : what is subtracted.
    regions : (h, w) int32 coarse regions.
    unit : px per cell of `regions`.
    least : contrast below which nothing can be a particle, OD.
    """

    levels: list[Level]
    background: Background
    regions: NDArray[np.int32]
    unit: int
    least: float

    def window(
        self, n: int, box: tuple[slice, ...], k: int
    ) -> tuple[Window, NDArray[np.bool_], tuple[int, int]]:
        """Surroundings of region `n` on level `k`, the region there, and the corner cell."""
        level = self.levels[k]
        span = max(s.stop - s.start for s in box) * self.unit / level.step
        margin = round(0.35 * span) + 5
        rows, columns = (
            np.arange(
                s.start * self.unit // level.step - margin,
                -(-s.stop * self.unit // level.step) + margin,
            )
            for s in box
        )
        height, width = level.value.shape
        inside = np.logical_and.outer(
            (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
        )
        pick = np.ix_(rows.clip(0, height - 1), columns.clip(0, width - 1))
        # The coarse cell at the centre of each cell of the level.
        coarse = [
            ((2 * index + 1) * level.step // (2 * self.unit)).clip(0, size - 1)
            for index, size in zip((rows, columns), self.regions.shape, strict=True)
        ]
        owner = np.where(inside, self.regions[np.ix_(*coarse)], 0)
        valid = inside & (level.weight[pick] > USABLE)
        value = level.value[pick] if k else _smooth(level.value[pick], valid)
        flat = value - self.background.at(rows, columns, level.step)
        window = Window(
            flat=np.where(valid, flat, np.float32(0)),
            own=valid & ((owner == n) | (owner == 0)),
            free=valid & ~grow(owner > 0, 2),
            valid=valid,
            least=self.least,
        )
        return window, owner == n, (int(rows[0]), int(columns[0]))


def _smooth(
    value: NDArray[np.float32], valid: NDArray[np.bool_], sigma: float = 1.5
) -> NDArray[np.float32]:
    weight = gaussian_filter(valid.astype(np.float32), sigma, truncate=3)
    total = gaussian_filter(np.where(valid, value, np.float32(0)), sigma, truncate=3)
    return np.asarray(total / np.maximum(weight, np.float32(1e-3)), np.float32)
