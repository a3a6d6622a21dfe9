"""The motion of all particles of a sample, advanced frame by frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .drift import IDENTITY, Affine, fit_affine, random_effect_weights, robust_mean
from .kinematics import velocity_acceleration
from .settings import RegisterSettings

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Position of one particle in one frame.

    Attributes
    ----------
    yx : (2,) float64, px in the image; not used if it was not seen.
    sigma : (2,) float64, px.
    seen : False for a coasting particle.
    cut : the mask was cut by the frame: its centre of mass is not that of the particle.
    """

    particle: int
    yx: Array
    sigma: Array
    seen: bool
    cut: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticleMotion:
    """What is remembered of the motion of one particle.

    Attributes
    ----------
    first_yx : (2,) float64, position in the image when first tracked, px.
    reference_yx : (2,) float64, the same in the frame of the electrode, px.
    residual : (2,) float64, last motion beyond drift, px.
    anchored : the particle has been seen whole, so that `reference_yx` is its centre of mass.
    path : px, length of the way in the image so far.
    times : (K,) s and positions (K, 2) px of the last frames in which it was seen.
    """

    particle: int
    first_yx: Array
    reference_yx: Array
    residual: Array
    anchored: bool
    path: float
    times: Array
    positions: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionState:
    """Motion of all particles known so far.

    Attributes
    ----------
    particles : by identity.
    drift : (2,) float64, px, of the last frame.
    frame : last frame that was advanced through, -1 before the first.
    """

    particles: dict[int, ParticleMotion]
    drift: Array
    frame: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """Motion of one particle in one frame; every vector is (2,) float64 (y, x)."""

    particle: int
    yx: Array
    sigma: Array
    displacement: Array
    velocity: Array
    acceleration: Array
    path: float
    residual: Array
    reference_yx: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldMotion:
    """Motion of the field in one frame.

    Attributes
    ----------
    drift : (2,) float64, px; sigma : its standard error per component, px, NaN if unknown.
    affine : deformation about the drift.
    moved : one entry for each measured particle, in their order.
    """

    drift: Array
    sigma: float
    affine: Affine
    moved: tuple[Moved, ...]


def init() -> MotionState:
    """State before the first frame of a sample."""
    return MotionState(particles={}, drift=np.zeros(2))


def start_run(state: MotionState) -> MotionState:
    """Begin a further run: references stay, rates do not reach over the gap between runs."""
    kept = {
        key: replace(p, times=p.times[:0], positions=p.positions[:0])
        for key, p in state.particles.items()
    }
    return replace(state, particles=kept, frame=-1)


def update(
    state: MotionState,
    frame: int,
    time: float,
    measured: tuple[Measured, ...],
    settings: RegisterSettings,
) -> tuple[MotionState, FieldMotion]:
    """Advance through one frame.

    The drift is the robust mean of the motion of each particle less its own last residual: a
    particle that drops out for a frame then does not make the drift jump.

    Parameters
    ----------
    frame : 0-based count in the run. time : data time, s.
    measured : positions in this frame; an unseen particle keeps its residual and coasts.

    Returns
    -------
    The state after the frame, and the motion in it.
    """
    drift, sigma = _drift(state, measured, settings)
    affine = _affine(state, measured, drift, settings)
    particles = dict(state.particles)
    moved = []
    for item in measured:
        known = particles.get(item.particle)
        if known is None:
            if not item.seen:
                continue
            known = _birth(item, drift, affine)
        known, motion = _advance(known, item, (time, drift, affine), settings)
        particles[item.particle] = known
        moved.append(motion)
    after = MotionState(particles=particles, drift=drift, frame=frame)
    return after, FieldMotion(drift=drift, sigma=sigma, affine=affine, moved=tuple(moved))


def _usable(state: MotionState, measured: tuple[Measured, ...]) -> list[Measured]:
    known = [m for m in measured if m.seen and m.particle in state.particles]
    whole = [m for m in known if not m.cut and state.particles[m.particle].anchored]
    return whole or known


def _drift(
    state: MotionState, measured: tuple[Measured, ...], settings: RegisterSettings
) -> tuple[Array, float]:
    usable = _usable(state, measured)
    if settings.gauge == "particle":
        named = [m for m in usable if m.particle == settings.gauge_particle]
        if named:
            reference = state.particles[named[0].particle].reference_yx
            return named[0].yx - reference, _rms(named[0].sigma)
    if not usable:
        return state.drift, float("nan")
    motion = np.array(
        [
            m.yx - state.particles[m.particle].reference_yx - state.particles[m.particle].residual
            for m in usable
        ]
    )
    weights = random_effect_weights(motion, np.array([_rms(m.sigma) for m in usable]))
    return robust_mean(motion, weights)


def _rms(sigma: Array) -> float:
    return float(np.sqrt(np.mean(sigma**2)))


def _affine(
    state: MotionState,
    measured: tuple[Measured, ...],
    drift: Array,
    settings: RegisterSettings,
) -> Affine:
    usable = _usable(state, measured)
    if not usable:
        return IDENTITY
    points = np.array([state.particles[m.particle].reference_yx for m in usable])
    motion = np.array([m.yx for m in usable]) - points - drift
    weights = random_effect_weights(motion, np.array([_rms(m.sigma) for m in usable]))
    return fit_affine(points, motion, weights, settings.min_particles_affine)


def _birth(item: Measured, drift: Array, affine: Affine) -> ParticleMotion:
    # taken back through today's deformation, so that a late birth does not bias later strain
    reference = affine.invert((item.yx - drift)[None])[0]
    return ParticleMotion(
        particle=item.particle,
        first_yx=item.yx,
        reference_yx=reference,
        residual=item.yx - drift - reference,
        anchored=not item.cut,
        path=0.0,
        times=np.zeros(0),
        positions=np.zeros((0, 2)),
    )


def _advance(
    known: ParticleMotion,
    item: Measured,
    now: tuple[float, Array, Affine],
    settings: RegisterSettings,
) -> tuple[ParticleMotion, Moved]:
    time, drift, affine = now
    expected = known.reference_yx + drift + known.residual
    rates = (np.full(2, np.nan), np.full(2, np.nan))
    # what the frame leaves of a cut particle has a centre of its own, which moves as the cut does
    yx = item.yx if item.seen and not item.cut else expected
    if item.seen:
        if not item.cut and not known.anchored:
            known = _anchor(known, yx - expected)
        step = yx - known.positions[-1] if len(known.positions) else np.zeros(2)
        keep = settings.velocity_frames - 1
        known = replace(
            known,
            residual=yx - drift - known.reference_yx,
            path=known.path + float(np.hypot(step[0], step[1])),
            times=np.append(known.times[-keep:], time),
            positions=np.vstack([known.positions[-keep:], yx]),
        )
        rates = velocity_acceleration(known.times, known.positions)
    motion = Moved(
        particle=known.particle,
        yx=yx,
        sigma=item.sigma,
        displacement=yx - known.first_yx,
        velocity=rates[0],
        acceleration=rates[1],
        path=known.path,
        residual=yx - drift - known.reference_yx - affine.at(known.reference_yx[None])[0],
        reference_yx=known.reference_yx,
    )
    return known, motion


def _anchor(known: ParticleMotion, offset: Array) -> ParticleMotion:
    """Move what was followed of a cut particle to its centre of mass, now that it is seen whole."""
    return replace(
        known,
        first_yx=known.first_yx + offset,
        reference_yx=known.reference_yx + offset,
        positions=known.positions + offset,
        anchored=True,
    )
