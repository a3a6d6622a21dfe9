"""Drift: the common motion of the particles, in the gauge that separates it from deformation.

From particles alone, only jitter and motion relative to each other are determined: a slow motion
that all share may be drift of the stage, or deformation of the electrode. What is called drift is
therefore declared, published with the results, and can be changed afterwards with `regauge`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....models.arrays import Array
from .background import Found
from .settings import RegisterSettings

ROBUST_MEAN = "robust-mean"
PARTICLE = "particle"
BACKGROUND = "background"
_ITERATIONS = 12  # at most; by eye
_PRIOR_VECTORS = 4.0  # weight of own steps so far, in vectors of this frame; by eye
_MEMORY = 0.95  # weight of the frames before in the running mean: twenty frames; by eye
_JUMP = 0.5  # weight below which a step is a jump: about 4.4 standard deviations

# distance, in standard deviations of a plane, from which a vector counts less (Huber; 9 % of
# normal vectors are farther), and from which it is of another kind and does not count (4e-6)
_CUT = 2.2
_FAR = 5.0

# mean of min(m^2, _CUT^2) when m^2 is chi-squared with two degrees of freedom
_CLIPPED = 2.0 * (1.0 - np.exp(-0.5 * _CUT**2))
_FLOOR_PX2 = 0.01**2  # px^2, of the variance of any position; by eye


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Variance of the step that particles make on their own from frame to frame.

    Attributes
    ----------
    mean : running mean of estimates without bias, px^2 per component; may be negative.
    vectors : number of vectors that it is of, older ones counting less.
    """

    mean: float = 0.1**2
    vectors: float = 1.0

    @property
    def variance(self) -> float:
        """Return the variance, px^2 per component, >= 0."""
        return max(self.mean, 0.0)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """Choice that gave the drift of a frame.

    Attributes
    ----------
    name : robust-mean, particle or background.
    reason : why it is not the one that was declared: particle_unseen, no_template,
        no_background, poor_peak, no_peak; "" if it is.
    """

    name: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usable:
    """The N particles of a frame that may define its drift; arrays are (N, 2) float64.

    Attributes
    ----------
    yx : px, a known magnification divided out. noise : its variance, px^2.
    reference : position in the frame of the electrode, px. reference_noise : its variance, px^2.
    residual : motion beyond drift so far, px. residual_variance : of it, px^2.
    """

    particle: tuple[int, ...]
    yx: Array
    noise: Array
    reference: Array
    reference_noise: Array
    residual: Array
    residual_variance: Array


def choose(
    settings: RegisterSettings, usable: Usable, mean: Drift, background: Found | None
) -> tuple[Drift, Gauge]:
    """Choose the drift in the declared gauge, or the robust mean where that cannot say.

    Parameters
    ----------
    settings : declare the gauge.
    usable : particles of the frame.
    mean : their common motion beyond their own, in the gauge so far.
    background : motion of the background, None if it was not sought.
    """
    if settings.gauge == PARTICLE:
        if settings.gauge_particle not in usable.particle:
            return mean, Gauge(name=ROBUST_MEAN, reason="particle_unseen")
        row = usable.particle.index(settings.gauge_particle)
        yx, sigma = usable.yx[row] - usable.reference[row], np.sqrt(usable.noise[row])
        return Drift(yx=yx, sigma=sigma, steps=mean.steps), Gauge(name=PARTICLE)
    if settings.gauge == BACKGROUND:
        if background is None or background.reason:
            reason = background.reason if background else "no_template"
            return mean, Gauge(name=ROBUST_MEAN, reason=reason)
        drift = Drift(yx=background.yx, sigma=background.sigma, steps=mean.steps)
        return drift, Gauge(name=BACKGROUND)
    return mean, Gauge(name=ROBUST_MEAN)


def robust_mean(values: Array, noise: Array, own: Array, steps: Steps) -> Drift:
    """Compute the Huber mean of 2-D vectors with random effects.

    Starts at the component-wise median, so that a minority of mismatched particles cannot pull it.

    Parameters
    ----------
    values : (N, 2) float64, motion of each less what it has moved on its own so far, px, N >= 1.
    noise : (N, 2) float64, variance of the positions of this frame, px^2.
    own : (N, 2) float64, variance of what each has moved on its own, px^2.
    steps : own steps in the frames before.

    Returns
    -------
    The mean. Its error has the noise of this frame and the scatter of own steps in it, but not
    `own`: own motions have no common part, that is how the gauge is defined.
    """
    variance = noise + own
    free = len(values) - 1
    # a few vectors alone say little of their scatter
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
    before = _MEMORY * steps.vectors
    after = before + free
    mean = (before * steps.mean + free * seen) / after
    return Drift(yx=centre, sigma=sigma, steps=Steps(mean=mean, vectors=after))


def own_motion(
    residual: Array, variance: Array, innovation: Array, noise: Array, scatter: float
) -> tuple[Array, Array]:
    """Advance what a particle has moved on its own: a Kalman filter of a random walk.

    A step that is out of all proportion is believed at once: the particle has jumped, and what
    was known of it is worth little.

    Parameters
    ----------
    residual : (2,) px so far. variance : (2,) its variance, px^2.
    innovation : (2,) px, measured own motion less `residual`.
    noise : (2,) variance of the position, px^2. scatter : px^2, variance of a step per component.

    Returns
    -------
    The new residual, px, and its variance, px^2, both (2,) float64.
    """
    before = variance + scatter
    jump = robust_weights(innovation[None], (before + noise)[None])[0] < _JUMP
    before = before + jump * innovation**2
    gain = before / (before + noise)
    return residual + gain * innovation, (1 - gain) * before


# How much vectors differ by more than their errors, seen robustly.


def robust_weights(residual: Array, variance: Array) -> Array:
    """Weigh vectors that should be 0 by weights in 0..1.

    Huber's, but 0 for those that are far off as long as these are a minority.

    Parameters
    ----------
    residual : (N, 2) float64, px. variance : (N, 2) float64, px^2.

    Returns
    -------
    (N,) float64.
    """
    distance = np.sqrt((residual**2 / variance).sum(axis=1))
    weights = np.minimum(1.0, _CUT / np.maximum(distance, 1e-12))
    near = distance < _FAR
    return np.where(near, weights, 0.0) if 2 * near.sum() > len(near) + 1 else weights


def scatter_step(residual: Array, variance: Array, scatter: float, fitted: int) -> float:
    """Take one step towards the variance that makes residuals what their errors and it say.

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
    distance = np.sqrt((residual**2 / total).sum(axis=1))
    near = distance < _FAR
    if 2 * near.sum() <= len(near) + 1:
        near[:] = True
    free = near.sum() - fitted
    if free <= 0:
        return scatter
    share = (np.minimum(distance[near], _CUT) ** 2).sum() / (_CLIPPED * free)
    return scatter + float((share - 1.0) / np.mean(1.0 / total[near]))


def error_variance(sigma: Array) -> Array:
    """Square standard errors, with a floor: nothing is known to better than 0.01 px."""
    return np.asarray(sigma, dtype=np.float64) ** 2 + _FLOOR_PX2
