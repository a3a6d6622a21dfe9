"""How much vectors differ by more than their errors, seen robustly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# distance, in standard deviations of a plane, from which a vector counts less (Huber)
CUT = 2.2
# mean of min(m^2, CUT^2) when m^2 is chi-squared with two degrees of freedom
_CLIPPED = 2.0 * (1.0 - np.exp(-0.5 * CUT**2))
_FLOOR_PX2 = 0.01**2
_BISECTIONS = 24


def scatter_variance(residual: Array, variance: Array, free: float) -> float:
    """Variance that must be added to the errors for residuals to be what they are.

    The method-of-moments estimate of random-effects models (Paule and Mandel 1982, J. Res. Natl.
    Bur. Stand. 87, 377), with distances clipped as by Huber so that outliers do not count as
    scatter.

    Parameters
    ----------
    residual : (N, 2) float64, px. variance : (N, 2) float64, of their errors, px^2.
    free : vectors that are free to differ, N less the fitted ones.

    Returns
    -------
    px^2 per component, >= 0.
    """
    target = _CLIPPED * free
    if free <= 0 or _clipped(residual, variance) <= target:
        return 0.0
    low, high = 0.0, float(2.0 * (residual**2).sum() / free)
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        if _clipped(residual, variance + middle) > target:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def huber_weights(residual: Array, variance: Array) -> Array:
    """Huber weights (N,) in 0..1 of residuals (N, 2), px, with their variances (N, 2), px^2."""
    distance = np.sqrt((residual**2 / variance).sum(axis=1))
    return np.minimum(1.0, CUT / np.maximum(distance, 1e-12))


def error_variance(sigma: Array) -> Array:
    """Squares of standard errors, with a floor: nothing is known to better than 0.01 px."""
    return np.asarray(sigma, dtype=np.float64) ** 2 + _FLOOR_PX2


def _clipped(residual: Array, variance: Array) -> float:
    distance = (residual**2 / variance).sum(axis=1)
    return float(np.minimum(distance, CUT**2).sum())
