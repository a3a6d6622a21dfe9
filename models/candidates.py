"""Refined particles, and how they become detections."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .detections import Detections
from .grids import part
from .refine import Outline


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
