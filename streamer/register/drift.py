"""Common motion of the particles, and what each moved beyond it so far."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .random_effects import huber_weights, scatter_variance

Array = NDArray[np.float64]

_ITERATIONS = 12
_PRIOR_VECTORS = 4.0
_MEMORY = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Common motion in one frame.

    Attributes
    ----------
    yx : (2,) float64, px. sigma : (2,) float64, its standard error, px, NaN if unknown.
    scatter : px^2 per component, variance of the step that particles make on their own.
    """

    yx: Array
    sigma: Array
    scatter: float


def robust_mean(values: Array, noise: Array, memory: Array, scatter: float) -> Drift:
    """Huber mean of 2-D vectors with random effects.

    Starts at the component-wise median, so that a minority of mismatched particles cannot pull it.

    Parameters
    ----------
    values : (N, 2) float64, motion of each less what it has moved on its own so far, px, N >= 1.
    noise : (N, 2) float64, variance of the positions of this frame, px^2.
    memory : (N, 2) float64, variance of what each has moved on its own, px^2.
    scatter : px^2, as it was in the frames before.

    Returns
    -------
    The mean. Its error has the noise of this frame and the scatter of own steps in it, but not
    `memory`: own motions have no common part, that is how the gauge is defined.
    """
    variance = noise + memory
    free = len(values) - 1
    centre = np.median(values, axis=0)
    weights = 1.0 / variance
    now = scatter
    for _ in range(_ITERATIONS):
        residual = values - centre
        seen = scatter_variance(residual, variance, free)
        # a few vectors cannot tell their scatter alone
        now = (_PRIOR_VECTORS * scatter + free * seen) / (_PRIOR_VECTORS + free)
        weights = huber_weights(residual, variance + now)[:, None] / (variance + now)
        update = (weights * values).sum(axis=0) / weights.sum(axis=0)
        done = np.abs(update - centre).max() < 1e-5
        centre = update
        if done:
            break
    share = weights / weights.sum(axis=0)
    sigma = np.sqrt((share**2 * (noise + now)).sum(axis=0))
    return Drift(yx=centre, sigma=sigma, scatter=(1 - _MEMORY) * scatter + _MEMORY * now)


def own_motion(
    residual: Array, memory: Array, innovation: Array, noise: Array, scatter: float
) -> tuple[Array, Array]:
    """Advance what a particle has moved on its own: a Kalman filter of a random walk.

    A step that is out of all proportion is believed at once: the particle has jumped, and what
    was known of it is worth little.

    Parameters
    ----------
    residual : (2,) px so far. memory : (2,) its variance, px^2.
    innovation : (2,) px, measured own motion less `residual`.
    noise : (2,) variance of the position, px^2. scatter : px^2, variance of a step per component.

    Returns
    -------
    The new residual, px, and its variance, px^2, both (2,) float64.
    """
    before = memory + scatter
    jump = huber_weights(innovation[None], (before + noise)[None])[0] < 0.5
    before = before + jump * innovation**2
    gain = before / (before + noise)
    return residual + gain * innovation, (1 - gain) * before
