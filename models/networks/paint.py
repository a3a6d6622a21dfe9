"""Draw contours into frames of full resolution."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import grid_sample

from ..arrays import Array, Image
from ..detector import Detections
from ..masks import bounding_box, grow
from .confirm import Rims
from .contours import Contours
from .inputs import ROI_CELLS

Box = tuple[slice, slice]
_TOUCHES = 2  # cells beside invalid ones from which a mask is cut
_EXTENT = 2.3  # half length of an ellipse in units of its rms along it, and some more
_BESIDE = 1.35  # pairs are looked at if their masks, made larger by this, touch


def paint(
    contours: Contours, found: Rims, score: Array, shape: tuple[int, int], doubt: str = ""
) -> Detections:
    """Draw the detections of one frame.

    Pixels that lie in two masks belong to that with the higher probability; centre, area and
    moments are those of the whole mask all the same. One of which others leave no pixel is left
    out.

    Parameters
    ----------
    contours : of this frame. found : their rims. score : (N,).
    shape : of the frame (H, W). doubt : see `Detections`.
    """
    labels = np.zeros(shape, np.int32)
    drawn: list[tuple[Box, Image]] = []
    for i, (box, chance) in enumerate(_fine(contours, shape)):
        target = labels[box]
        inside = chance > 0.5
        if (target * inside).any():
            for n in np.unique(target[inside & (target > 0)]).tolist():
                inside &= (target != n) | (chance > _part(drawn[n - 1], box))
        target[inside] = i + 1
        drawn.append((box, chance))
    found_in = [
        bounding_box(labels[box] == n, box[0].start, box[1].start)
        for n, (box, _) in enumerate(drawn, 1)
    ]
    bounds = np.array(found_in, np.int64).reshape(-1, 4)
    shown = bounds[:, 2] > bounds[:, 0]
    if not shown.all():
        return paint(contours.pick(shown), found.pick(shown), score[shown], shape, doubt)
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


def _fine(contours: Contours, shape: tuple[int, int]) -> Iterator[tuple[Box, Image]]:
    """Find the pixels where each mask may be, with its probability there (bilinear)."""
    likely = [contours.share.max(axis) > 0.25 for axis in (2, 1)]
    for share, rows, columns, centre, cell in zip(
        contours.share, *likely, contours.centres, contours.cell, strict=True
    ):
        down, y, high = _axis(rows, centre[0], cell, shape[0])
        across, x, wide = _axis(columns, centre[1], cell, shape[1])
        # Torch, as its threads are bounded by the processor; those of NumPy's products are not.
        part = torch.from_numpy(share[high, wide])
        yield (y, x), (down @ part @ across.T).numpy()


def _axis(
    likely: NDArray[np.bool_], centre: float, cell: float, size: int
) -> tuple[torch.Tensor, slice, slice]:
    """Compute weights of cells in pixels, and which pixels and cells these are, along one axis."""
    some = np.flatnonzero(likely)
    first, last = max(int(some[0]) - 2, 0), min(int(some[-1]) + 3, ROI_CELLS)
    low, high = (
        min(max(int((end - ROI_CELLS / 2) * cell + centre) + k, 0), size)
        for end, k in ((some[0] - 1, 0), (some[-1] + 2, 2))
    )
    place = (np.arange(low, high) - centre) / cell + (ROI_CELLS - 1) / 2
    weight = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(first, last)))
    return torch.from_numpy(weight.astype(np.float32)), slice(low, high), slice(first, last)


def _part(drawn: tuple[Box, Image], box: Box) -> Image:
    """Crop what was drawn in one box to another."""
    (rows, columns), chance = drawn
    out = np.zeros([s.stop - s.start for s in box], np.float32)
    y0, y1 = max(rows.start, box[0].start), min(rows.stop, box[0].stop)
    x0, x1 = max(columns.start, box[1].start), min(columns.stop, box[1].stop)
    if y0 < y1 and x0 < x1:
        out[y0 - box[0].start : y1 - box[0].start, x0 - box[1].start : x1 - box[1].start] = chance[
            y0 - rows.start : y1 - rows.start, x0 - columns.start : x1 - columns.start
        ]
    return out


def _contrast(contours: Contours, found: Rims) -> Array:
    """Compute the mean OD inside above that just outside."""
    weight = contours.share * contours.usable
    total = (weight * contours.value).sum((1, 2), dtype=np.float64)
    return total / weight.sum((1, 2), dtype=np.float64).clip(1e-9) - found.outside


def _is_cut(
    contours: Contours, bounds: NDArray[np.int64], shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """Find masks that touch the rim of the frame, or what is invalid."""
    beside = grow(~contours.usable) & (contours.share > 0.5)
    at_rim = (bounds[:, :2] <= 0).any(1) | (bounds[:, 2:] >= shape).any(1)
    return at_rim | (beside.sum((1, 2)) >= _TOUCHES)


# Contours that lie over each other: which are the same, and what is in the way of which.


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """P ordered pairs of contours of the same frame that are near each other.

    Attributes
    ----------
    one, other : (P,) rows.
    share : (P, S, S) float32, mask of ``other`` in the window of ``one``.
    inside : (P,) float64, share of the area of the smaller mask that lies in the larger.
    """

    one: NDArray[np.intp]
    other: NDArray[np.intp]
    share: Image
    inside: NDArray[np.float64]

    def pick(self, which: NDArray[np.bool_]) -> Pairs:
        """Return some of them."""
        return Pairs(
            one=self.one[which],
            other=self.other[which],
            share=self.share[which],
            inside=self.inside[which],
        )


def find_pairs(contours: Contours) -> Pairs:
    """Find pairs of neighbours; each in both orders."""
    long = np.sqrt(contours.moments[:, :2].sum(1).clip(0))
    extent = np.maximum(_EXTENT * long / np.sqrt(2), contours.diameter / 2)
    apart = np.hypot(*(contours.yx[:, None] - contours.yx[None]).transpose(2, 0, 1))
    near = apart < _BESIDE * (extent[:, None] + extent[None])
    near &= contours.owner[:, None] == contours.owner[None]
    np.fill_diagonal(near, val=False)
    one, other = np.nonzero(near)
    share = _seen_from(contours, one, other)
    common = np.minimum(share, contours.share[one]).sum((1, 2)) * contours.cell[one] ** 2
    smaller = np.minimum(contours.area[one], contours.area[other])
    both = np.zeros((len(contours), len(contours)))
    both[one, other] = common / np.maximum(smaller, 1e-9)
    # The smaller window has the finer cells, and all of the smaller mask.
    rank = contours.sides.argsort(kind="stable").argsort()
    both = np.where(rank[:, None] < rank[None], both, both.T)
    return Pairs(one=one, other=other, share=share, inside=both[one, other])


def _seen_from(contours: Contours, one: NDArray[np.intp], other: NDArray[np.intp]) -> Image:
    """Sample masks in the windows of others, (P, S, S)."""
    if not len(one):
        return np.zeros((0, ROI_CELLS, ROI_CELLS), np.float32)
    at = (np.arange(ROI_CELLS) + 0.5) / ROI_CELLS - 0.5
    centre, size = contours.centres[other], contours.sides[other]
    off, ratio = (contours.centres[one] - centre) / size[:, None], contours.sides[one] / size
    y, x = (2 * (off[:, k, None] + at * ratio[:, None]) for k in (0, 1))
    wide = (len(one), ROI_CELLS, ROI_CELLS)
    grid = np.stack([np.broadcast_to(x[:, None, :], wide), np.broadcast_to(y[:, :, None], wide)], 3)
    found = grid_sample(
        torch.from_numpy(contours.share[other])[:, None],
        torch.from_numpy(grid.astype(np.float32)),
        align_corners=False,
    )
    return found[:, 0].numpy()


def others(contours: Contours, pairs: Pairs) -> Image:
    """Compute the probability of any other particle in the window of each contour, (N, S, S)."""
    found = np.zeros_like(contours.share)
    for one, share in zip(pairs.one, pairs.share, strict=True):
        np.maximum(found[one], share, out=found[one])
    return found


def without_duplicates(pairs: Pairs, score: NDArray[np.float64], most: float) -> NDArray[np.bool_]:
    """Choose which to keep, (N,) bool: of two that lie over each other, that with the better score.

    Parameters
    ----------
    pairs : of the N contours. score : (N,).
    most : share of the smaller of two masks that may lie in the other.
    """
    keep = score > 0
    clash = pairs.inside > most
    rivals: dict[int, list[int]] = {}
    for a, b in zip(pairs.one[clash].tolist(), pairs.other[clash].tolist(), strict=True):
        rivals.setdefault(a, []).append(b)
    for row in sorted(rivals, key=lambda r: -score[r]):
        if keep[row]:
            keep[rivals[row]] = False
    return keep
