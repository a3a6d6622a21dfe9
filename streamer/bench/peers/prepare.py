"""Frames as libraries want them: no NaN, no wild contrast, no rim."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, map_coordinates
from scipy.signal.windows import tukey

from ....models.arrays import Array
from .interface import Stack

_BLOCK = 16  # px


def filled(stack: Stack) -> tuple[Stack, NDArray[np.bool_]]:
    """Replace NaN by the local median, which is what surrounds it and casts no edge of its own.

    Medians of blocks of 16 px, those of blocks without a valid pixel taken from the nearest one,
    are interpolated linearly at the invalid pixels.

    Parameters
    ----------
    stack : (F, H, W) float32, NaN where invalid.

    Returns
    -------
    stack : (F, H, W) float32, finite; 0 in a frame without any valid pixel.
    usable : (F,) bool, the frame has valid pixels.
    """
    finite = np.isfinite(stack)
    usable = np.asarray(finite.any(axis=(1, 2)))
    out = np.where(finite, stack, np.float32(0))
    for k in np.flatnonzero(usable & ~finite.all(axis=(1, 2))):
        bad = np.nonzero(~finite[k])
        places = [(axis + 0.5) / _BLOCK - 0.5 for axis in bad]
        medians = _block_medians(np.where(finite[k], stack[k], np.nan))
        out[k][bad] = map_coordinates(medians, places, order=1, mode="nearest")
    return out, usable


def _block_medians(image: Stack) -> Array:
    high, wide = (-(-size // _BLOCK) for size in image.shape)
    rim = [(0, high * _BLOCK - image.shape[0]), (0, wide * _BLOCK - image.shape[1])]
    blocks = np.pad(image, rim, constant_values=np.nan).reshape(high, _BLOCK, wide, _BLOCK)
    blocks = blocks.swapaxes(1, 2).reshape(high, wide, -1)
    empty = np.isnan(blocks).all(axis=2)
    medians = np.zeros((high, wide))
    medians[~empty] = np.nanmedian(blocks[~empty], axis=1)
    rows, columns = np.asarray(
        distance_transform_edt(empty, return_distances=False, return_indices=True)
    )
    return medians[rows, columns]


def standardised(stack: Stack) -> Stack:
    """Give every frame (F, H, W) the same median and spread: 0 and 1 from its 2 % to 98 % level.

    Methods that compare intensities would otherwise see the absorption edge as motion.
    """
    low, middle, high = np.percentile(stack, [2, 50, 98], axis=(1, 2))[:, :, None, None]
    spread = np.where(high > low, high - low, 1.0)
    return ((stack - middle) / spread).astype(np.float32)


def windowed(stack: Stack, share: float) -> Stack:
    """Subtract the mean of each frame (F, H, W) and taper its rim, so that no edge wraps around.

    Parameters
    ----------
    share : tapered share of each side (Tukey window).
    """
    height, width = stack.shape[1:]
    window = np.outer(tukey(height, share), tukey(width, share)).astype(np.float32)
    mean = (stack * window).sum(axis=(1, 2), keepdims=True) / window.sum()
    return (stack - mean) * window
