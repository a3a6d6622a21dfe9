"""Velocity and acceleration from the last few positions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....models.arrays import Array
from .drift import error_variance

_SAME = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Velocity, px/s, and acceleration, px/s^2, with standard errors; (2,) float64 each.

    The errors are those that the positions' errors, taken as independent, leave in the rates; how
    far the motion is from a parabola within the window is not in them.
    """

    velocity: Array
    acceleration: Array
    velocity_sigma: Array
    acceleration_sigma: Array


_NAN = np.full(2, np.nan)

UNKNOWN = Rates(velocity=_NAN, acceleration=_NAN, velocity_sigma=_NAN, acceleration_sigma=_NAN)


def rates(times: Array, positions: Array, sigmas: Array) -> Rates:
    """Causal weighted least-squares fit of the last positions, evaluated at the newest.

    Two positions give a difference quotient and no acceleration; three or more a parabola.

    Parameters
    ----------
    times : (K,) float64, data time, s.
    positions : (K, 2) float64, px. sigmas : (K, 2) float64, their standard errors, px.

    Returns
    -------
    NaN where time does not advance; no acceleration for fewer than three distinct times.
    """
    if not np.isfinite(times).all():
        return UNKNOWN
    advance = times - times[-1]
    span = float(advance.max() - advance.min())
    if not span > 0:
        return UNKNOWN
    # times that all but coincide tell no rate between them
    distinct = len(set(np.round(advance / span, _SAME).tolist()))
    degree = min(2, distinct - 1)
    design = (advance / span)[:, None] ** np.arange(degree + 1)
    # one row of weights for each component
    weighted = (1.0 / error_variance(sigmas)).T[:, :, None] * design
    covariance = np.linalg.inv(design.T @ weighted)
    right = (weighted * positions.T[:, :, None]).sum(axis=1)
    fit = (covariance @ right[:, :, None])[:, :, 0]
    error = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    curved = degree == 2
    return Rates(
        velocity=fit[:, 1] / span,
        velocity_sigma=error[:, 1] / span,
        acceleration=2 * fit[:, 2] / span**2 if curved else _NAN,
        acceleration_sigma=2 * error[:, 2] / span**2 if curved else _NAN,
    )
