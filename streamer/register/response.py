"""How far the structure of the background moves a fitted place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...models.rim import Rim, kernel

_PLACES = 48
_LEAST = 6
_FREE = 0.9
_POINTS = 1500
_NORMAL = 1.4826


def background_response(
    rim: Rim, od: NDArray[np.float32], free: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Apply a rim's fit to places without a particle: what it answers there is its error.

    A fit is linear in the image near its solution, so that what lies under a particle shifts it by
    the fit's answer to that alone. The background elsewhere in the frame stands for it.

    Parameters
    ----------
    rim : of the particle.
    od : (H, W) float32, optical density. free : (H, W) bool, usable and without particle.

    Returns
    -------
    (2,) float64, robust rms of (y, x), px at unit gain; NaN if there are too few free places, or
    the frame does not hold the rim.
    """
    keep = slice(None, None, max(1, len(rim.value) // _POINTS))
    # not rint: of halves, it sends two to the same pixel
    points = np.floor(rim.points[keep] + 0.5).astype(np.int64)
    reach = np.abs(points).max(axis=0)
    if (2 * reach >= od.shape).any():
        return np.full(2, np.nan)
    weights = kernel(rim, keep)
    centres = _centres(od.shape, reach)
    at = centres[:, None] + points[None]
    flat = at[..., 0] * od.shape[1] + at[..., 1]
    usable = free.take(flat)
    enough = usable.mean(axis=1) >= _FREE
    if np.count_nonzero(enough) < _LEAST:
        return np.full(2, np.nan)
    values, usable = od.take(flat[enough]).astype(np.float64), usable[enough]
    mean = (values * usable).sum(axis=1, keepdims=True) / usable.sum(axis=1, keepdims=True)
    answers = np.where(usable, values - mean, 0.0) @ weights.T
    return np.asarray(_NORMAL * np.median(np.abs(answers), axis=0), dtype=np.float64)


def _centres(shape: tuple[int, ...], reach: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places spread evenly (Kronecker sequence of the plastic number), the band inside."""
    n = np.arange(1, _PLACES + 1)[:, None]
    share = (n * np.array([0.7548776662466927, 0.5698402909980532])) % 1.0
    low, high = reach, np.array(shape) - 1 - reach
    return np.rint(low + share * (high - low)).astype(np.int64)
