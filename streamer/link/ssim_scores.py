"""Structural similarity of the ROIs of detections with those of tracks, batched over the pairs.

A ROI is what a mask shows: optical density above the local background within the mask, nothing
outside of it, in a square window around the centre of the particle, resampled to S x S cells. The
window is 1.75 times as wide as a disc of the particle's area. Both ROIs of a pair have the window
of the track, so that size counts; cells that lie outside of what can be seen are unknown.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...models.arrays import Array, Mask
from ...models.defects import fill_defects
from ...models.detections import Detections
from ...models.ssim import ssim

DATA_RANGE = 4.0
"""Of standardised ROIs: two standard deviations to either side of the mean."""
_WIDTH = 1.75  # of the window, in diameters of a disc of the same area
_FLAT = 1e-6


def side_of(area: float) -> float:
    """Side of the window of a particle, px, from its area, px^2."""
    return _WIDTH * 2.0 * float(np.sqrt(max(area, 1.0) / np.pi))


@dataclass(frozen=True, slots=True)
class Bodies:
    """The N detections of a frame, each by itself.

    Attributes
    ----------
    value : (N, P, P) float32, OD above the local background, 0 outside of the mask.
    corner : (N, 2) float64, place of their first pixels in the frame, px.
    usable : (H, W) bool, pixels of the frame that can be seen.
    """

    value: Tensor
    corner: Tensor
    usable: Tensor


def bodies(image: NDArray[np.float32], valid: Mask, detections: Detections) -> Bodies:
    """Cut the detections out of a frame: (H, W) optical density and valid pixels."""
    od, usable = _fill(image, valid)
    corner = detections.bbox[:, :2]
    extent = int((detections.bbox[:, 2:] - corner).max(initial=1))
    at = torch.from_numpy(corner[:, :, None] + np.arange(extent))  # (N, 2, P)
    height, width = od.shape
    index = at[:, 0, :, None].clamp(max=height - 1) * width + at[:, 1, None, :].clamp(max=width - 1)
    row = torch.arange(1, len(detections) + 1)[:, None, None]
    # beyond the frame the last pixels repeat
    inside = (at[:, 0, :, None] < height) & (at[:, 1, None, :] < width)
    mask = (torch.from_numpy(detections.labels).take(index) == row) & inside
    value = torch.where(mask, od.take(index), 0.0)
    mean = value.sum(dim=(1, 2)) / mask.sum(dim=(1, 2)).clamp(min=1)
    # the detector knows by how much the background around the mask is lower
    level = mean - torch.from_numpy(detections.contrast).float()
    value = torch.where(mask, value - level[:, None, None], 0.0)
    return Bodies(value=value, corner=torch.from_numpy(corner).float(), usable=usable)


def _fill(od: NDArray[np.float32], valid: Mask) -> tuple[Tensor, Tensor]:
    """Fill lone defects, so that they make no part of a ROI unknown."""
    value, usable = (torch.from_numpy(np.ascontiguousarray(a))[None, None] for a in (od, valid))
    if not valid.all():
        value, usable = fill_defects(value, usable)
    return value[0, 0], usable[0, 0]


def views(found: Bodies, rows: NDArray[np.intp], centres: Array, sides: Array, size: int) -> Tensor:
    """ROIs of K detections, every cell the mean over its area or over one pixel.

    Parameters
    ----------
    rows : (K,) the detections that are looked at; one may be looked at in several windows.
    centres : (K, 2) and sides : (K,), of their windows, px.
    size : S, cells per side.

    Returns
    -------
    (K, 1, S, S) float32, OD above the local background, 0 outside of the mask, NaN where unknown.
    """
    row = torch.from_numpy(rows)
    steps = (torch.arange(size) + 0.5) / size - 0.5
    side = torch.from_numpy(sides).float()
    cells = torch.from_numpy(centres).float()[:, :, None] + side[:, None, None] * steps  # (K, 2, S)
    half = (side / size).clamp(min=1.0)[:, None, None, None] / 2
    pixels = torch.arange(found.value.shape[-1]) + 0.0
    offset = pixels - (cells - found.corner[row][:, :, None])[..., None]  # (K, 2, S, P)
    share = torch.minimum(offset + 0.5, half) - torch.maximum(offset - 0.5, -half)
    down, across = (share.clamp(min=0.0) / (2 * half)).unbind(dim=1)
    value = down @ found.value[row] @ across.mT
    at = cells.round().long()
    last = torch.tensor(found.usable.shape)[:, None] - 1
    within = ((at >= 0) & (at <= last)).unbind(dim=1)
    y, x = at.clamp(min=torch.zeros_like(last), max=last).unbind(dim=1)
    known = found.usable[y[:, :, None], x[:, None, :]]
    known = known & within[0][:, :, None] & within[1][:, None, :]
    return torch.where(known, value, torch.nan)[:, None]


def pair_ssim(first: Tensor, second: Tensor) -> NDArray[np.float32]:
    """SSIM of K pairs of ROIs, (K, 1, S, S) each.

    Both are standardised (zero mean, unit variance) over the cells that are known in both, which
    takes gain and offset out, then compared by :func:`operando.models.ssim.ssim` with a data range
    of 4.

    Returns
    -------
    (K,) float32 in -1..1; NaN where no window of 11 x 11 cells is known in both, or nothing varies.
    """
    known = torch.isfinite(first) & torch.isfinite(second)
    a, b = _standardised(first, known), _standardised(second, known)
    return ssim(a, b, DATA_RANGE).numpy()


def _standardised(values: Tensor, known: Tensor) -> Tensor:
    """NaN where not known, and everywhere if nothing varies."""
    axes = (1, 2, 3)
    count = known.sum(dim=axes, keepdim=True).clamp(min=1)
    centred = torch.where(known, values, 0.0)
    centred = torch.where(known, centred - centred.sum(dim=axes, keepdim=True) / count, 0.0)
    spread = torch.sqrt((centred**2).sum(dim=axes, keepdim=True) / count)
    return torch.where(known & (spread > _FLAT), centred / spread.clamp(min=_FLAT), torch.nan)
