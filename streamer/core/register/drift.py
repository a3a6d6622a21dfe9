"""Common motion of the particles, and what each moved beyond it so far."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....models.arrays import Array

_ITERATIONS = 12
_PRIOR_VECTORS = 4.0
_MEMORY = 0.95
_JUMP = 0.5
# distance, in standard deviations of a plane, from which a vector counts less (Huber), and from
# which it is of another kind and does not count
_CUT = 2.2
_FAR = 5.0
# mean of min(m^2, _CUT^2) when m^2 is chi-squared with two degrees of freedom
_CLIPPED = 2.0 * (1.0 - np.exp(-0.5 * _CUT**2))
_FLOOR_PX2 = 0.01**2


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Variance of the step that particles make on their own from frame to frame.

    Attributes
    ----------
    mean : running mean of estimates without bias, px^2 per component; may be negative.
    vectors : number of vectors that have told it, older ones counting less.
    """

    mean: float = 0.1**2
    vectors: float = 1.0

    @property
    def variance(self) -> float:
        """px^2 per component, >= 0."""
        return max(self.mean, 0.0)

    def told(self, scatter: float, vectors: float) -> Steps:
        """Remember what a further frame said."""
        before = _MEMORY * self.vectors
        after = before + vectors
        return Steps(mean=(before * self.mean + vectors * scatter) / after, vectors=after)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Common motion in one frame.

    Attributes
    ----------
    yx : (2,) float64, px. sigma : (2,) float64, its standard error, px, NaN if unknown.
    steps : what particles move on their own, this frame included.
    """

    yx: Array
    sigma: Array
    steps: Steps


def robust_mean(values: Array, noise: Array, memory: Array, steps: Steps) -> Drift:
    """Huber mean of 2-D vectors with random effects.

    Starts at the component-wise median, so that a minority of mismatched particles cannot pull it.

    Parameters
    ----------
    values : (N, 2) float64, motion of each less what it has moved on its own so far, px, N >= 1.
    noise : (N, 2) float64, variance of the positions of this frame, px^2.
    memory : (N, 2) float64, variance of what each has moved on its own, px^2.
    steps : own steps in the frames before.

    Returns
    -------
    The mean. Its error has the noise of this frame and the scatter of own steps in it, but not
    `memory`: own motions have no common part, that is how the gauge is defined.
    """
    variance = noise + memory
    free = len(values) - 1
    # a few vectors cannot tell their scatter alone
    prior = min(_PRIOR_VECTORS, steps.vectors)
    centre = np.median(values, axis=0)
    weights = 1.0 / variance
    now = seen = steps.variance
    for _ in range(_ITERATIONS):
        residual = values - centre
        seen = scatter_step(residual, variance, now, 1)
        now = max((prior * steps.mean + free * seen) / (prior + free), 0.0)
        weights = robust_weights(residual, variance + now)[:, None] / (variance + now)
        update = (weights * values).sum(axis=0) / weights.sum(axis=0)
        done = np.abs(update - centre).max() < 1e-5
        centre = update
        if done:
            break
    share = weights / weights.sum(axis=0)
    sigma = np.sqrt((share**2 * (noise + now)).sum(axis=0))
    return Drift(yx=centre, sigma=sigma, steps=steps.told(seen, free))


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
    jump = robust_weights(innovation[None], (before + noise)[None])[0] < _JUMP
    before = before + jump * innovation**2
    gain = before / (before + noise)
    return residual + gain * innovation, (1 - gain) * before


# How much vectors differ by more than their errors, seen robustly.


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
