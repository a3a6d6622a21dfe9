"""What an empty frame shows where a particle could be: the limit of detection."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import uniform_filter

from ....models.arrays import Array

_STEP = 1.2
"""Ratio of neighbouring sizes for which the noise is computed."""
_NEAR = 8.0
"""Side of the square over which noise is averaged, radii."""
_LEAST_VALID = 0.5


def contrast_noise(empty: NDArray[np.float32], yx: ArrayLike, radii: ArrayLike) -> Array:
    """Rms of the contrast that is measured where no particle is, (T,) OD.

    Contrast is the mean over a square of the area of the particle minus the mean over a frame of
    the same area around it; its rms is taken near the place of the particle. Both the shot noise
    and the structure of the background are in it, as both can be mistaken for a particle.

    Parameters
    ----------
    empty : (H, W) optical density of the same frame without any particle, NaN where invalid.
    yx : (T, 2) px. radii : (T,) equal-area radii, px.

    Returns
    -------
    (T,) float64; NaN where next to nothing is valid.
    """
    yx, radii = np.asarray(yx, np.float64).reshape(-1, 2), np.asarray(radii, np.float64)
    last = np.array(empty.shape) - 1
    at = np.clip(np.rint(yx), 0, last).astype(np.int64)
    sizes = np.rint(np.log(radii) / np.log(_STEP))
    noise = np.empty(len(radii))
    for size in np.unique(sizes):
        chosen = sizes == size
        rms = _rms_near(empty, _STEP**size)
        noise[chosen] = rms[tuple(at[chosen].T)]
    return noise


def _rms_near(empty: NDArray[np.float32], radius: float) -> Array:
    """Rms of the contrast of squares of this equal-area radius near each pixel, (H, W)."""
    valid = np.isfinite(empty).astype(np.float64)
    filled = np.nan_to_num(empty.astype(np.float64))
    side = np.sqrt(np.pi) * radius
    inner, outer = (max(round(k * side), n) for k, n in ((1.0, 2), (np.sqrt(2.0), 3)))
    total, weight = (_box_sum(image, inner) for image in (filled, valid))
    wide, wide_weight = (_box_sum(image, outer) for image in (filled, valid))
    ring = wide_weight - weight
    enough = _LEAST_VALID * inner**2, _LEAST_VALID * (outer**2 - inner**2)
    usable = (weight >= enough[0]) & (ring >= enough[1])
    contrast = total / np.maximum(weight, 1) - (wide - total) / np.maximum(ring, 1)
    near = round(_NEAR * radius)
    count = _box_sum(usable.astype(np.float64), near)
    square = _box_sum(np.where(usable, contrast**2, 0.0), near)
    # running sums leave a rounding error where there is nothing
    return np.where(count > 0.5, np.sqrt(np.maximum(square, 0) / np.maximum(count, 1)), np.nan)


def _box_sum(image: Array, side: int) -> Array:
    """Sums over squares; nothing is beyond the frame."""
    return uniform_filter(image, side, mode="constant") * side**2
