"""How far a particle stands out from what the same frame shows without it."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import uniform_filter

from ...models.arrays import Array, Image

_STEP = 1.4
"""Ratio of neighbouring sizes for which the structure is computed."""
_SIDE = 6  # least side of a square, cells


def visibility(contrast: Array, radius: Array, noise: Array, structure: Image) -> Array:
    """Contrast of particles over the rms contrast of places without one.

    The contrast of a place is the mean of a square of the particle's area less that of a frame of
    the same area around it. Counting noise and the structure of the background are both in it, as
    both can be mistaken for a particle.

    Parameters
    ----------
    contrast : (P,) mean OD. radius : (P,) equal-area, px. noise : (P,) of a pixel, OD rms.
    structure : (H, W) noise-free OD of everything but the particles.

    Returns
    -------
    (P,) float64; below about 3 nobody can say that there is a particle.
    """
    sizes = np.rint(np.log(radius) / np.log(_STEP))
    behind = np.zeros(len(radius))
    for size in np.unique(sizes):
        behind[sizes == size] = _rms(structure, float(_STEP**size))
    # the square and the frame around it have the same area
    counting = noise * np.sqrt(2 / (np.pi * radius**2))
    return contrast / np.maximum(np.hypot(counting, behind), 1e-9)


def _rms(structure: Image, radius: float) -> float:
    """Rms over the frame of the contrast of squares of this equal-area radius."""
    side = np.sqrt(np.pi) * radius
    step = max(1, int(side / _SIDE))
    height, width = (n // step * step for n in structure.shape)
    cells = structure[:height, :width].reshape(height // step, step, width // step, step)
    coarse = cells.mean(axis=(1, 3))
    inner, outer = max(round(side / step), 2), max(round(np.sqrt(2) * side / step), 3)
    near, wide = (uniform_filter(coarse, n, mode="reflect") for n in (inner, outer))
    ring = (wide * outer**2 - near * inner**2) / (outer**2 - inner**2)
    return float(np.sqrt(np.mean((near - ring) ** 2)))
