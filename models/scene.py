"""One frame while its particles are refined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .arrays import Mask
from .background import Background
from .masks import grow
from .pyramid import USABLE, Level
from .refine import Windows
from .smooth import gaussian

_EVEN = 4  # sides of windows are multiples of it, so that few sizes occur
_SIGMA = 1.5  # of the finest level, cells


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a window is: (h, w) cells of level `k` from (top, left), around region `n`."""

    n: int
    k: int
    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One frame while its particles are refined.

    Attributes
    ----------
    levels : the frame at all resolutions.
    background : what is subtracted.
    regions : (h, w) int32 coarse regions.
    flat : (h, w) float32, OD above the background on the grid of the regions.
    unit : px per cell of `regions`.
    least : contrast below which nothing can be a particle, OD.
    """

    levels: list[Level]
    background: Background
    regions: NDArray[np.int32]
    flat: NDArray[np.float32]
    unit: int
    least: float

    def place(self, n: int, box: tuple[slice, ...], k: int) -> Place:
        """Where the surroundings of region `n` with the bounds `box` are on level `k`."""
        step = self.levels[k].step
        span = max(s.stop - s.start for s in box) * self.unit / step
        margin = round(0.2 * span) + 5
        top, left = (s.start * self.unit // step - margin for s in box)
        height, width = (
            -(-s.stop * self.unit // step) + margin - start
            for s, start in zip(box, (top, left), strict=True)
        )
        return Place(n=n, k=k, top=top, left=left, height=height, width=width)

    def windows(self, places: Sequence[Place]) -> tuple[Windows, Mask, list[tuple[int, int]]]:
        """Surroundings of regions, the regions there, and the corner cells.

        All windows are as large as the largest of `places`, which are in the middle of them.
        """
        height = -(-max(p.height for p in places) // _EVEN) * _EVEN
        width = -(-max(p.width for p in places) // _EVEN) * _EVEN
        shape = (len(places), height, width)
        value, base = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        valid, owner = np.zeros(shape, bool), np.zeros(shape, np.int32)
        corners = []
        for i, p in enumerate(places):
            top, left = p.top - (height - p.height) // 2, p.left - (width - p.width) // 2
            level = self.levels[p.k]
            rows = slice(max(top, 0), min(top + height, level.value.shape[0]))
            columns = slice(max(left, 0), min(left + width, level.value.shape[1]))
            y, x = slice(rows.start - top, rows.stop - top), columns.start - left
            to = np.s_[i, y, x : columns.stop - left]
            value[to] = level.value[rows, columns]
            valid[to] = level.weight[rows, columns] > USABLE
            owner[to] = self._owner(rows, columns, level.step)
            base[to] = self.background.at(rows, columns, level.step)
            corners.append((top, left))
        rough = [i for i, p in enumerate(places) if p.k == 0]
        if rough:
            value[rough] = _smooth(value[rough], valid[rough])
        value -= base
        value *= valid
        mine = owner == np.array([p.n for p in places], np.int32)[:, None, None]
        taken = owner > 0
        windows = Windows(
            flat=value,
            own=valid & (mine | ~taken),
            free=valid & ~grow(taken, 2),
            valid=valid,
            least=self.least,
        )
        return windows, mine, corners

    def _owner(self, rows: slice, columns: slice, step: int) -> NDArray[np.int32]:
        """The region at the centre of each cell of a level."""
        height, width = self.regions.shape
        y = _centres(height, self.unit, step)[rows]
        x = _centres(width, self.unit, step)[columns]
        return self.regions[y[0] : y[-1] + 1].take(x, axis=1)[y - y[0]]


@lru_cache(maxsize=64)
def _centres(size: int, unit: int, step: int) -> NDArray[np.intp]:
    """The cell of `unit` px at the centre of each cell of `step` px."""
    count = size * unit // step
    return ((2 * np.arange(count) + 1) * step // (2 * unit)).clip(0, size - 1)


def _smooth(value: NDArray[np.float32], valid: Mask) -> NDArray[np.float32]:
    if valid.all():
        return gaussian(value, _SIGMA, 3)
    weight = gaussian(valid.astype(np.float32), _SIGMA, 3)
    out = gaussian(value * valid, _SIGMA, 3)
    out /= np.maximum(weight, np.float32(1e-3))
    return out
