"""Contours drawn into frames of full resolution."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..detections import Detections
from ..masks import grow
from .confirm import Rims
from .contours import Contours, Floats, Map
from .inputs import ROI_CELLS

_TOUCHES = 2  # cells beside invalid ones from which a mask is cut


def paint(
    contours: Contours, found: Rims, score: Floats, shape: tuple[int, int], doubt: str = ""
) -> Detections:
    """The detections of one frame.

    Pixels that lie in two masks belong to that with the higher probability; centre, area and
    moments are those of the whole mask all the same.

    Parameters
    ----------
    contours : of this frame. found : their rims. score : (N,).
    shape : of the frame (H, W). doubt : see `Detections`.
    """
    labels = np.zeros(shape, np.int32)
    best: dict[int, tuple[tuple[slice, slice], Map]] = {}
    bounds = np.zeros((len(contours), 4), np.int64)
    for i in range(len(contours)):
        box, chance = _fine(contours, i, shape)
        target = labels[box]
        inside = chance > 0.5
        taken = np.unique(target[inside & (target > 0)])
        for n in taken.tolist():
            inside &= ~((target == n) & (_part(best[n], box) >= chance))
        target[inside] = i + 1
        best[i + 1] = (box, chance)
    for i in range(len(contours)):
        bounds[i] = _bounds(labels, i + 1, best[i + 1][0])
    return Detections(
        labels=labels,
        yx=contours.yx,
        area=contours.area,
        moments=contours.moments,
        bbox=bounds,
        contrast=_contrast(contours, found),
        score=score,
        cut=_is_cut(contours, bounds, shape),
        doubt=doubt,
    )


def _fine(contours: Contours, i: int, shape: tuple[int, int]) -> tuple[tuple[slice, slice], Map]:
    """Pixels where a mask may be, and its probability there, by bilinear interpolation."""
    share, cell, centre = contours.share[i], contours.cell[i], contours.centres[i]
    spans, weights, cells = [], [], []
    for axis in (0, 1):
        some = np.flatnonzero(share.max(1 - axis) > 0.25)
        ends = (np.array([some[0] - 1, some[-1] + 2]) - ROI_CELLS / 2) * cell + centre[axis]
        low, high = max(int(ends[0]), 0), max(min(int(ends[1]) + 2, shape[axis]), 0)
        low = min(low, high)
        place = (np.arange(low, high) - centre[axis]) / cell + (ROI_CELLS - 1) / 2
        used = slice(max(int(some[0]) - 2, 0), int(some[-1]) + 3)
        near = np.arange(used.start, min(used.stop, ROI_CELLS))
        weights.append(np.maximum(0, 1 - np.abs(place[:, None] - near)).astype(np.float32))
        spans.append(slice(low, high))
        cells.append(used)
    return (spans[0], spans[1]), weights[0] @ share[cells[0], cells[1]] @ weights[1].T


def _part(drawn: tuple[tuple[slice, slice], Map], box: tuple[slice, slice]) -> Map:
    """What was drawn in one box, as seen in another."""
    (rows, columns), chance = drawn
    out = np.zeros([s.stop - s.start for s in box], np.float32)
    y0, y1 = max(rows.start, box[0].start), min(rows.stop, box[0].stop)
    x0, x1 = max(columns.start, box[1].start), min(columns.stop, box[1].stop)
    if y0 < y1 and x0 < x1:
        out[y0 - box[0].start : y1 - box[0].start, x0 - box[1].start : x1 - box[1].start] = chance[
            y0 - rows.start : y1 - rows.start, x0 - columns.start : x1 - columns.start
        ]
    return out


def _bounds(
    labels: NDArray[np.int32], n: int, box: tuple[slice, slice]
) -> tuple[int, int, int, int]:
    mask = labels[box] == n
    y, x = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, left = box[0].start, box[1].start
    if not len(y):
        return (top, left, top, left)
    return (top + int(y[0]), left + int(x[0]), top + int(y[-1]) + 1, left + int(x[-1]) + 1)


def _contrast(contours: Contours, found: Rims) -> Floats:
    """Mean OD inside above that just outside."""
    weight = contours.share * contours.usable
    total = (weight * contours.value).sum((1, 2), dtype=np.float64)
    return total / weight.sum((1, 2), dtype=np.float64).clip(1e-9) - found.outside


def _is_cut(
    contours: Contours, bounds: NDArray[np.int64], shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """Whether masks touch the rim of the frame, or what is invalid."""
    beside = grow(~contours.usable) & (contours.share > 0.5)
    at_rim = (bounds[:, :2] <= 0).any(1) | (bounds[:, 2:] >= shape).any(1)
    return at_rim | (beside.sum((1, 2)) >= _TOUCHES)
