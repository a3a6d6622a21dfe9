"""Motion of one particle: its place beyond drift, its path, velocity and acceleration."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ....models.arrays import Array
from .deformation import Affine, View
from .drift import Drift, error_variance, own_motion

_SAME = 4  # decimals of the window; times that are closer tell no rate between them; by eye


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionMeasurement:
    """Position of one particle in one frame.

    Attributes
    ----------
    yx : (2,) float64, px in the image; not used if it was not seen.
    sigma : (2,) float64, px.
    seen : False for a coasting particle.
    cut : the mask was cut by the frame: its centre of mass is not that of the particle.
    followed : the place was matched with what the particle looked like before, so that it moves
        with the particle also where the mask is cut.
    row : of its detection, -1 without one.
    mask_yx : (2,) float64, centre of mass of its mask, px; None if there is none of the whole
        particle.
    contrast : relative to its first template; NaN if no template was matched.
    """

    particle: int
    yx: Array
    sigma: Array
    seen: bool
    cut: bool
    followed: bool = False
    row: int = -1
    mask_yx: Array | None = None
    contrast: float = float("nan")


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticleMotion:
    """Motion of one particle so far.

    Attributes
    ----------
    first_yx : (2,) float64, position in the image when first tracked, px.
    reference_yx : (2,) float64, the same in the frame of the electrode, px.
    reference_sigma : (2,) float64, its standard error, px.
    residual : (2,) float64, motion beyond drift as filtered up to the last frame, px.
    residual_variance : (2,) float64, px^2.
    whole : the particle has been seen whole, so that `reference_yx` is its centre of mass.
    path : px, length of the way in the image so far.
    times : (K,) s, positions (K, 2) px and their sigmas (K, 2) px of the last frames in which it
        was seen.
    """

    particle: int
    first_yx: Array
    reference_yx: Array
    reference_sigma: Array
    residual: Array
    residual_variance: Array
    whole: bool
    path: float
    times: Array
    positions: Array
    sigmas: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticleShift:
    """Motion of one particle in one frame; every vector is (2,) float64 (y, x).

    `yx`, `sigma`, `displacement`, `path` and the rates are those of the image; `residual` and
    `reference_yx` are of the electrode, a known magnification divided out.
    """

    particle: int
    yx: Array
    sigma: Array
    displacement: Array
    rates: Rates
    path: float
    residual: Array
    reference_yx: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonMotion:
    """Motion that all particles of a frame share; `time` is its data time, s."""

    time: float
    drift: Drift
    affine: Affine
    view: View


def advance(
    known: ParticleMotion | None, item: PositionMeasurement, common: CommonMotion, frames: int
) -> tuple[ParticleMotion, ParticleShift]:
    """Advance a particle by one frame.

    Parameters
    ----------
    known : its motion so far; None if it begins here.
    item : its position. common : motion that all share.
    frames : in the fit of the rates.

    Returns
    -------
    The motion to go on with, and that in this frame.
    """
    view, drift = common.view, common.drift
    now = known or _birth(item, common)
    expected = view.to_image(now.reference_yx + drift.yx + now.residual)
    # what the frame leaves of a cut particle has a centre of its own, which moves as the cut does
    whole = item.seen and not item.cut
    yx = item.yx if whole or (item.seen and item.followed) else expected
    if whole and not now.whole:
        now = _centred(now, yx - expected, item.sigma, view)
    own = view.to_reference(yx) - drift.yx - now.reference_yx
    if known and item.seen and (whole or item.followed):
        noise, scatter = error_variance(item.sigma / view.scale), drift.steps.variance
        residual, variance = own_motion(
            now.residual, now.residual_variance, own - now.residual, noise, scatter
        )
        now = replace(now, residual=residual, residual_variance=variance)
    elif not whole and not item.followed:
        now = replace(now, residual_variance=now.residual_variance + drift.steps.variance)
    found = UNKNOWN
    if item.seen:
        step = yx - now.positions[-1] if len(now.positions) else np.zeros(2)
        keep = frames - 1
        now = replace(
            now,
            path=now.path + float(np.hypot(step[0], step[1])),
            times=np.concatenate([now.times[-keep:], [common.time]]),
            positions=np.concatenate([now.positions[-keep:], yx[None]]),
            sigmas=np.concatenate([now.sigmas[-keep:], item.sigma[None]]),
        )
        found = rates(now.times, now.positions, now.sigmas)
    return now, ParticleShift(
        particle=now.particle,
        yx=yx,
        sigma=item.sigma,
        displacement=yx - now.first_yx,
        rates=found,
        path=now.path,
        residual=own - common.affine.at(now.reference_yx[None])[0],
        reference_yx=now.reference_yx,
    )


def _birth(item: PositionMeasurement, common: CommonMotion) -> ParticleMotion:
    # taken back through today's deformation, so that a late birth does not bias later strain
    at = common.view.to_reference(item.yx) - common.drift.yx
    reference = common.affine.invert(at[None])[0]
    sigma = item.sigma / common.view.scale
    return ParticleMotion(
        particle=item.particle,
        first_yx=item.yx,
        reference_yx=reference,
        reference_sigma=sigma,
        residual=at - reference,
        residual_variance=error_variance(sigma),
        whole=not item.cut,
        path=0.0,
        times=np.zeros(0),
        positions=np.zeros((0, 2)),
        sigmas=np.zeros((0, 2)),
    )


def _centred(known: ParticleMotion, offset: Array, sigma: Array, view: View) -> ParticleMotion:
    """Move what was followed of a cut particle to its centre of mass, now that it is seen whole."""
    return replace(
        known,
        first_yx=known.first_yx + offset,
        reference_yx=known.reference_yx + offset / view.scale,
        reference_sigma=sigma / view.scale,
        residual_variance=error_variance(sigma / view.scale),
        positions=known.positions + offset,
        whole=True,
    )


def rates(times: Array, positions: Array, sigmas: Array) -> Rates:
    """Fit the last positions by causal weighted least squares, evaluated at the newest.

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
