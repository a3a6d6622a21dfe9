"""Operations on boolean masks or stacks of them, faster on small ones than general morphology."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import label
from torch.nn.functional import pad

from .arrays import Mask

_FOUR = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)
# In a stack no mask touches the one before it.
_STACK = np.zeros((3, 3, 3), bool)
_STACK[1] = _FOUR
_REACH = 2  # px around a defect that must hardly be defect; by eye
_ALONE = 0.7  # valid share of the window around a lone defect; 0.6 at a straight rim


def grow(mask: Mask, times: int = 1) -> Mask:
    """Dilate by the four neighbours, (..., h, w)."""
    for _ in range(times):
        out = mask.copy()
        out[..., 1:, :] |= mask[..., :-1, :]
        out[..., :-1, :] |= mask[..., 1:, :]
        out[..., 1:] |= mask[..., :-1]
        out[..., :-1] |= mask[..., 1:]
        mask = out
    return mask


def shrink(mask: Mask, times: int = 1) -> Mask:
    """Erode by the four neighbours, (..., h, w); nothing is beyond the rim of the window."""
    for _ in range(times):
        out = mask.copy()
        out[..., 1:, :] &= mask[..., :-1, :]
        out[..., :-1, :] &= mask[..., 1:, :]
        out[..., 1:] &= mask[..., :-1]
        out[..., :-1] &= mask[..., 1:]
        out[..., 0, :] = out[..., -1, :] = False
        out[..., 0] = out[..., -1] = False
        mask = out
    return mask


def without_tendrils(mask: Mask, thickness: int) -> Mask:
    """Open by a diamond of radius `thickness`."""
    return grow(shrink(mask, thickness), thickness)


def without_tendrils_each(masks: Mask, thickness: NDArray[np.integer]) -> Mask:
    """Open each of a stack of masks (n, h, w) by a diamond of its own radius (n,)."""
    out = masks.copy()
    for times in np.unique(thickness):
        which = np.flatnonzero(thickness == times)
        out[which] = without_tendrils(masks[which], int(times))
    return out


def bounds(mask: Mask) -> tuple[slice, slice]:
    """Find the rows and columns that a mask (h, w) reaches over; one of each if it is empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return slice(0, 1), slice(0, 1)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def components(mask: Mask, structure: Mask | None = None) -> tuple[NDArray[np.int32], int]:
    """Label the connected components; labels from 1, and how many there are."""
    labels = np.empty(mask.shape, np.int32)
    count = label(mask, _FOUR if structure is None else structure, labels)
    return labels, int(count)  # pyright: ignore[reportArgumentType]


def bounding_box(mask: Mask, top: int, left: int) -> tuple[int, int, int, int]:
    """Return the half-open bounds (y0, x0, y1, x1) of a mask (h, w) that begins at (top, left)."""
    if not mask.any():
        return (top, left, top, left)
    y, x = bounds(mask)
    return (top + y.start, left + x.start, top + y.stop, left + x.stop)


def main_parts(masks: Mask) -> Mask:
    """Keep the largest connected component in each of a stack of masks, (n, h, w)."""
    labels, count = components(masks, _STACK)
    if count <= 1:
        return masks
    flat = labels.reshape(len(labels), -1)
    # Labels are given in the order of the cells, so that each mask has a range of its own.
    last = np.maximum.accumulate(flat.max(1))
    first = np.concatenate([[0], last[:-1]]) + 1
    if (last - first < 1).all():
        return masks
    areas = np.bincount(flat.ravel())
    keep = np.zeros(count + 1, bool)
    for a, b in zip(first, last, strict=True):
        if b >= a:
            keep[a + areas[a : b + 1].argmax()] = True
    return keep.take(labels)


def without_holes(mask: Mask) -> Mask:
    """Fill what is not connected to the rim of the window, (h, w) or (n, h, w)."""
    around = np.ones((*mask.shape[:-2], mask.shape[-2] + 2, mask.shape[-1] + 2), bool)
    np.logical_not(mask, out=around[..., 1:-1, 1:-1])
    labels, count = components(around, _FOUR if mask.ndim == 2 else _STACK)
    if count <= (1 if mask.ndim == 2 else len(mask)):
        return mask
    return (labels != labels[..., :1, :1])[..., 1:-1, 1:-1]


# Lone pixels without a value, such as hot ones: filled before particles are looked for.


def fill_defects(od: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Give lone invalid pixels the mean of what is around them.

    A hot pixel within a particle is no rim: without this the particle would count as cut.

    Parameters
    ----------
    od, valid : (B, 1, H, W) float32 and bool.

    Returns
    -------
    The same, with lone defects filled and valid; larger invalid areas are left alone.
    """
    # few pixels qualify: valid ones lie beyond the window on all four sides
    beyond = _REACH + 1
    height, width = valid.shape[-2:]
    wide = pad(valid, (beyond,) * 4)
    near = ~valid
    for dy, dx in ((0, 1), (2, 1), (1, 0), (1, 2)):
        near &= wide[..., dy * beyond :, dx * beyond :][..., :height, :width]
    clean = torch.where(valid, od, od.new_zeros(()))
    frame, _, y, x = near.nonzero(as_tuple=True)
    steps = torch.arange(2 * _REACH + 1, device=od.device)
    rows, columns = y[:, None, None] + steps[:, None], x[:, None, None] + steps
    window = (frame[:, None, None], 0, rows, columns)
    share = pad(valid, (_REACH,) * 4)[window].to(od.dtype).mean(dim=(1, 2))
    total = pad(clean, (_REACH,) * 4)[window].mean(dim=(1, 2))
    alone = share > _ALONE
    place = (frame[alone], 0, y[alone], x[alone])
    usable = valid.clone()
    clean[place] = total[alone] / share[alone]
    usable[place] = True
    return clean, usable
