"""How much vectors differ by more than their errors, seen robustly."""

from __future__ import annotations

import numpy as np

from ...models.arrays import Array

# distance, in standard deviations of a plane, from which a vector counts less (Huber), and from
# which it is of another kind and does not count
_CUT = 2.2
_FAR = 5.0
# mean of min(m^2, _CUT^2) when m^2 is chi-squared with two degrees of freedom
_CLIPPED = 2.0 * (1.0 - np.exp(-0.5 * _CUT**2))
_FLOOR_PX2 = 0.01**2


def robust_weights(residual: Array, variance: Array) -> Array:
    """Weights in 0..1 of vectors that should be 0.

    Huber's, but 0 for those that are far off as long as these are a minority.

    Parameters
    ----------
    residual : (N, 2) float64, px. variance : (N, 2) float64, px^2.

    Returns
    -------
    (N,) float64.
    """
    distance = _distance(residual, variance)
    weights = np.minimum(1.0, _CUT / np.maximum(distance, 1e-12))
    near = distance < _FAR
    return np.where(near, weights, 0.0) if 2 * near.sum() > len(near) + 1 else weights


def scatter_step(residual: Array, variance: Array, scatter: float, fitted: int) -> float:
    """One step towards the variance that makes residuals what their errors and it say.

    The fixed point solves the moment equation of random-effects models (Paule and Mandel 1982,
    J. Res. Natl. Bur. Stand. 87, 377), with distances clipped so that outliers do not count.

    Parameters
    ----------
    residual : (N, 2) float64, px. variance : (N, 2) float64, px^2, of their errors.
    scatter : px^2, present estimate. fitted : vectors that were fitted to them.

    Returns
    -------
    Next estimate, px^2 per component. It is without bias, and hence may be negative.
    """
    total = variance + scatter
    distance = _distance(residual, total)
    near = distance < _FAR
    if 2 * near.sum() <= len(near) + 1:
        near[:] = True
    free = near.sum() - fitted
    if free <= 0:
        return scatter
    share = (np.minimum(distance[near], _CUT) ** 2).sum() / (_CLIPPED * free)
    return scatter + float((share - 1.0) / np.mean(1.0 / total[near]))


def error_variance(sigma: Array) -> Array:
    """Squares of standard errors, with a floor: nothing is known to better than 0.01 px."""
    return np.asarray(sigma, dtype=np.float64) ** 2 + _FLOOR_PX2


def _distance(residual: Array, variance: Array) -> Array:
    return np.sqrt((residual**2 / variance).sum(axis=1))
