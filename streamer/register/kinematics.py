"""Velocity and acceleration from the last few positions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def velocity_acceleration(times: Array, positions: Array) -> tuple[Array, Array]:
    """Causal least-squares fit of the last positions, evaluated at the newest.

    Two positions give a difference quotient and no acceleration; three or more a parabola.

    Parameters
    ----------
    times : (K,) float64, data time, s.
    positions : (K, 2) float64, px.

    Returns
    -------
    velocity : (2,) float64, px/s; NaN where time does not advance.
    acceleration : (2,) float64, px/s^2; NaN for fewer than three distinct times.
    """
    unknown = np.full(2, np.nan)
    advance = times - times[-1]
    if len(np.unique(advance)) < 2 or not np.isfinite(advance).all():
        return unknown, unknown
    span = float(np.ptp(advance))
    scaled = advance / span
    degree = 2 if len(np.unique(advance)) >= 3 else 1
    design = scaled[:, None] ** np.arange(degree + 1)
    fit = np.linalg.lstsq(design, positions, rcond=None)[0]
    velocity = fit[1] / span
    acceleration = 2 * fit[2] / span**2 if degree == 2 else unknown
    return velocity, acceleration
