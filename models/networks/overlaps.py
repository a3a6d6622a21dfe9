"""Contours that lie over each other: which are the same, and what is in the way of which."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import grid_sample

from ..arrays import Image
from .contours import Contours
from .inputs import ROI_CELLS

_EXTENT = 2.3  # half length of an ellipse in units of its rms along it, and some more
_BESIDE = 1.35  # pairs are looked at if their masks, made larger by this, touch


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
        """Some of them."""
        return Pairs(
            one=self.one[which],
            other=self.other[which],
            share=self.share[which],
            inside=self.inside[which],
        )


def find_pairs(contours: Contours) -> Pairs:
    """Pairs of neighbours; each in both orders."""
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
    """Masks in the windows of others, (P, S, S)."""
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
    """Probability of anybody else in the window of each contour, (N, S, S)."""
    found = np.zeros_like(contours.share)
    for one, share in zip(pairs.one, pairs.share, strict=True):
        np.maximum(found[one], share, out=found[one])
    return found


def without_duplicates(pairs: Pairs, score: NDArray[np.float64], most: float) -> NDArray[np.bool_]:
    """Which to keep, (N,) bool: of two that lie over each other, that with the better score.

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
