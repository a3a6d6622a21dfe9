"""How well a mask centre of mass can be known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...models.arrays import Array

_MASK_OVER_BOUND = 1.4
_CUT_PX = 2.0
_SHAPE = 0.005


def mask_sigma(
    area: Array, contrast: Array, cut: NDArray[np.bool_], *, noise: float, psf: float
) -> Array:
    """Standard deviation of the centre of mass of a half-maximum mask.

    The Cramer-Rao bound of a disc of radius R and contrast a behind a Gaussian point spread of
    width w in white noise s is (s/a) sqrt(2 w / (sqrt(pi) R)); a half-maximum mask reaches 1.4
    times that. The slope of background and light across a particle, relative to its contrast,
    moves the contour of its gently sloping rim in proportion to its size: 0.5 % of the radius is
    added for that. Chemistry is not in it.

    Parameters
    ----------
    area : (N,) px^2. contrast : (N,) optical density. cut : (N,) bool, cut by the frame.
    noise : rms noise of the frame, optical density; NaN (unknown) counts as 0.05.
    psf : width w (sigma), px.

    Returns
    -------
    (N,) float64, px, per component.
    """
    noise = noise if np.isfinite(noise) else 0.05
    radius = np.sqrt(np.maximum(area, 1.0) / np.pi)
    bound = noise / np.maximum(contrast, 1e-2) * np.sqrt(2 * psf / (np.sqrt(np.pi) * radius))
    whole = np.hypot(_MASK_OVER_BOUND * bound, _SHAPE * radius)
    return np.hypot(whole, np.where(cut, _CUT_PX, 0.0))
