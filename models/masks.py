"""Small operations on boolean masks, much faster on small windows than general morphology."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

Mask = NDArray[np.bool_]


def grow(mask: Mask, times: int = 1) -> Mask:
    """Dilate by the four neighbours."""
    for _ in range(times):
        out = mask.copy()
        out[1:] |= mask[:-1]
        out[:-1] |= mask[1:]
        out[:, 1:] |= mask[:, :-1]
        out[:, :-1] |= mask[:, 1:]
        mask = out
    return mask


def shrink(mask: Mask, times: int = 1) -> Mask:
    """Erode by the four neighbours; nothing is beyond the rim of the window."""
    for _ in range(times):
        out = mask.copy()
        out[1:] &= mask[:-1]
        out[:-1] &= mask[1:]
        out[:, 1:] &= mask[:, :-1]
        out[:, :-1] &= mask[:, 1:]
        out[0] = out[-1] = False
        out[:, 0] = out[:, -1] = False
        mask = out
    return mask


def without_tendrils(mask: Mask, thickness: int) -> Mask:
    """Open by a diamond of radius `thickness`."""
    return grow(shrink(mask, thickness), thickness)


def components(mask: Mask, structure: Mask | None = None) -> tuple[NDArray[np.int32], int]:
    """Label the connected components; labels from 1, and how many there are."""
    labels = np.empty(mask.shape, np.int32)
    count = label(mask, structure, labels)
    return labels, int(count)  # pyright: ignore[reportArgumentType]


def main_part(mask: Mask) -> Mask:
    """The largest connected component."""
    labels, count = components(mask)
    if count <= 1:
        return mask
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    return labels == areas.argmax()


def without_holes(mask: Mask) -> Mask:
    """Fill what is not connected to the rim of the window."""
    around = np.ones((mask.shape[0] + 2, mask.shape[1] + 2), bool)
    np.logical_not(mask, out=around[1:-1, 1:-1])
    labels, count = components(around)
    if count <= 1:
        return mask
    return (labels != labels[0, 0])[1:-1, 1:-1]
