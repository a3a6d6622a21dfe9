"""One frame while its particles are refined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..arrays import Mask
from ..detector import Detections
from ..masks import grow
from .background import CoarseBackground
from .contour import Outline, Windows
from .pyramid import USABLE, Level, gaussian, part

_EVEN = 4  # sides of windows are multiples of it, so that few sizes occur
_SIGMA = 1.5  # of the finest level, cells


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateWindow:
    """Where a window is: (h, w) cells of level `k` from (top, left), around region `n`."""

    n: int
    k: int
    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateScene:
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
    background: CoarseBackground
    regions: NDArray[np.int32]
    flat: NDArray[np.float32]
    unit: int
    least: float

    def place(self, n: int, box: tuple[slice, ...], k: int) -> CandidateWindow:
        """Where the surroundings of region `n` with the bounds `box` are on level `k`."""
        step = self.levels[k].step
        span = max(s.stop - s.start for s in box) * self.unit / step
        margin = round(0.2 * span) + 5
        top, left = (s.start * self.unit // step - margin for s in box)
        height, width = (
            -(-s.stop * self.unit // step) + margin - start
            for s, start in zip(box, (top, left), strict=True)
        )
        return CandidateWindow(n=n, k=k, top=top, left=left, height=height, width=width)

    def windows(
        self, places: Sequence[CandidateWindow]
    ) -> tuple[Windows, Mask, list[tuple[int, int]]]:
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


# Refined particles, and how they become detections.


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A refined particle at its place.

    Attributes
    ----------
    outline : its mask and rim.
    corner : (y, x) cell of the level at which the window begins (may be negative).
    step : px per cell.
    cut : the mask touches the rim of the frame or of the valid area.
    area : of the mask, px^2.
    yx : centre of the mask, px.
    moments : second moments (yy, xx, yx) of the mask, px^2.
    """

    outline: Outline
    corner: tuple[int, int]
    step: int
    cut: bool
    area: float
    yx: tuple[float, float]
    moments: tuple[float, float, float]


def place(outline: Outline, corner: tuple[int, int], step: int, cut: bool) -> Candidate:
    """Put an outline at its place, and measure its shape."""
    share = outline.share
    y, x = (np.arange(n, dtype=np.float64) for n in share.shape)
    in_y, in_x = share.sum(1, dtype=np.float64), share.sum(0, dtype=np.float64)
    total = in_y.sum()
    cy, cx = in_y @ y / total, in_x @ x / total
    dy, dx = y - cy, x - cx
    # A cell is not a point: it adds the moment of a square.
    yy, xx = in_y @ dy**2 / total + 1 / 12, in_x @ dx**2 / total + 1 / 12
    yx = dy @ (share @ dx) / total
    y0, x0 = corner
    return Candidate(
        outline=outline,
        corner=corner,
        step=step,
        cut=cut,
        area=float(total * step**2),
        yx=(float((y0 + cy + 0.5) * step - 0.5), float((x0 + cx + 0.5) * step - 0.5)),
        moments=(float(yy * step**2), float(xx * step**2), float(yx * step**2)),
    )


def collect(found: list[tuple[Candidate, float]], shape: tuple[int, int]) -> Detections:
    """Put refined particles together.

    Parameters
    ----------
    found : candidates and their scores.
    shape : frame (H, W).
    """
    labels = np.zeros(shape, np.int32)
    rows = []
    for n, (c, score) in enumerate(found, 1):
        box = _paint(labels, c, n)
        rows.append((*c.yx, c.area, *c.moments, *box, c.outline.contrast, score, c.cut))
    table = np.array(rows, dtype=np.float64).reshape(-1, 13)
    return Detections(
        labels=labels,
        yx=table[:, 0:2].copy(),
        area=table[:, 2].copy(),
        moments=table[:, 3:6].copy(),
        bbox=table[:, 6:10].astype(np.int64),
        contrast=table[:, 10].copy(),
        score=table[:, 11].copy(),
        cut=table[:, 12].astype(bool),
    )


def _paint(labels: NDArray[np.int32], candidate: Candidate, n: int) -> tuple[int, int, int, int]:
    """Draw a mask at full resolution where nothing is yet; returns its bounds."""
    share, step = candidate.outline.share, candidate.step
    rows, columns = (_bounds(share.max(axis), step) for axis in (1, 0))
    fine = part(share, step, rows, columns) if step > 1 else share[rows, columns]
    top, left = candidate.corner[0] * step + rows.start, candidate.corner[1] * step + columns.start
    y0, x0 = max(top, 0), max(left, 0)
    y1 = max(min(top + fine.shape[0], labels.shape[0]), y0)
    x1 = max(min(left + fine.shape[1], labels.shape[1]), x0)
    target = labels[y0:y1, x0:x1]
    mask = (fine[y0 - top : y1 - top, x0 - left : x1 - left] > 0.5) & (target == 0)
    target[mask] = n
    inner_y, inner_x = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(inner_y):
        return (y0, x0, y0, x0)
    return (
        y0 + int(inner_y[0]),
        x0 + int(inner_x[0]),
        y0 + int(inner_y[-1]) + 1,
        x0 + int(inner_x[-1]) + 1,
    )


def _bounds(most: NDArray[np.float32], step: int) -> slice:
    """Fine cells where the largest share in a row or column may be seen."""
    inside = np.flatnonzero(most > 0)
    if not len(inside):
        return slice(0, 0)
    return slice(int(inside[0]) * step, (int(inside[-1]) + 1) * step)
