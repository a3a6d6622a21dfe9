"""The motion of all particles of a sample, advanced frame by frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ....models.arrays import Array
from . import magnification as zone_plate
from .affine import Affine, fit_affine
from .background import BackgroundTemplate, BackgroundView, absorb, at_reference, find
from .drift import Drift, Steps, error_variance, own_motion, robust_mean
from .gauge import Gauge, Usable, choose
from .kinematics import UNKNOWN, Rates, rates
from .magnification import Magnification, MagnificationState, View
from .settings import RegisterSettings


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
    """

    particle: int
    yx: Array
    sigma: Array
    seen: bool
    cut: bool
    followed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticleMotion:
    """What is remembered of the motion of one particle.

    Attributes
    ----------
    first_yx : (2,) float64, position in the image when first tracked, px.
    reference_yx : (2,) float64, the same in the frame of the electrode, px.
    reference_sigma : (2,) float64, its standard error, px.
    residual : (2,) float64, motion beyond drift as filtered up to the last frame, px.
    memory : (2,) float64, variance of `residual`, px^2.
    anchored : the particle has been seen whole, so that `reference_yx` is its centre of mass.
    path : px, length of the way in the image so far.
    times : (K,) s, positions (K, 2) px and their sigmas (K, 2) px of the last frames in which it
        was seen.
    """

    particle: int
    first_yx: Array
    reference_yx: Array
    reference_sigma: Array
    residual: Array
    memory: Array
    anchored: bool
    path: float
    times: Array
    positions: Array
    sigmas: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionState:
    """Motion of all particles known so far.

    Attributes
    ----------
    particles : by identity.
    drift : (2,) float64, px, of the last frame.
    steps : what particles move on their own from frame to frame.
    magnification : regression of the magnification on energy.
    background : what lies between the particles, if the gauge asks for it.
    frame : last frame that was advanced through, -1 before the first.
    """

    particles: dict[int, ParticleMotion]
    drift: Array
    steps: Steps
    magnification: MagnificationState
    background: BackgroundTemplate | None = None
    frame: int = -1


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
class FieldMotion:
    """Motion of the field in one frame.

    A particle is in the image at `view.to_image(X + drift + affine(X) + residual)`.

    Attributes
    ----------
    drift : (2,) float64, px; sigma : (2,) float64, its standard error, px, NaN if unknown.
    gauge : the choice that gave the drift, with the reason where it is not the declared one.
    affine : deformation about the drift.
    view : how the image shows the electrode. magnification : what is known of it.
    moved : one entry for each measured particle, in their order.
    """

    drift: Array
    sigma: Array
    gauge: Gauge
    affine: Affine
    view: View
    magnification: Magnification
    moved: tuple[ParticleShift, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameMeasurement:
    """One frame as registration needs it.

    Attributes
    ----------
    frame : 0-based count in the run. time : data time, s. energy : eV, None if unknown.
    shape : (H, W) px.
    measured : positions; an unseen particle keeps its residual and coasts.
    picture : what lies between the particles, for the gauge that needs it.
    """

    frame: int
    time: float
    energy: float | None
    shape: tuple[int, int]
    measured: tuple[PositionMeasurement, ...]
    picture: BackgroundView | None = None


def init() -> MotionState:
    """State before the first frame of a sample."""
    return MotionState(
        particles={}, drift=np.zeros(2), steps=Steps(), magnification=zone_plate.init()
    )


def last_places(state: MotionState) -> dict[int, Array]:
    """Where each particle was last, (2,) px in the image of that frame; roughly, after a gap."""
    return {
        key: p.positions[-1] if len(p.positions) else p.reference_yx + state.drift + p.residual
        for key, p in state.particles.items()
    }


def recentred(state: MotionState, by: Mapping[int, Array]) -> MotionState:
    """Let another point of each particle be its place, (2,) px away from that so far."""
    moved = {
        key: replace(
            p,
            first_yx=p.first_yx + by[key],
            reference_yx=p.reference_yx + by[key],
            positions=p.positions + by[key],
        )
        for key, p in state.particles.items()
        if key in by
    }
    return replace(state, particles={**state.particles, **moved})


def start_run(state: MotionState) -> MotionState:
    """Begin a further run: references stay, rates do not reach over the gap between runs."""
    kept = {
        key: replace(p, times=p.times[:0], positions=p.positions[:0], sigmas=p.sigmas[:0])
        for key, p in state.particles.items()
    }
    return replace(state, particles=kept, frame=-1)


def update(
    state: MotionState, now: FrameMeasurement, settings: RegisterSettings
) -> tuple[MotionState, FieldMotion]:
    """Advance through one frame.

    The drift is the robust mean of the motion of each particle less what it has moved on its own
    so far: a particle that drops out for a frame then does not make the drift jump. Another gauge
    replaces that mean; where it cannot say, the mean goes on from it without a step.

    Returns
    -------
    The state after the frame, and the motion in it.
    """
    lens, view = zone_plate.view(state.magnification, now.energy, now.shape, settings)
    usable = _usable(state, now.measured, view)
    mean = _mean(state, usable)
    found, picture = None, now.picture
    if picture is not None:
        picture = at_reference(picture, view.scale, view.axis_yx)
        reach, least = settings.background_search_px, settings.background_peak
        found = find(state.background, picture, mean.yx, reach, least)
    drift, gauge = choose(settings, usable, mean, found)
    affine = _affine(usable, drift.yx, settings)
    lens, magnification = zone_plate.update(lens, now.time, view, affine, settings)
    particles = dict(state.particles)
    moved = []
    scene = _Scene(time=now.time, drift=drift, affine=affine, view=view, known=state.particles)
    for item in now.measured:
        known = particles.get(item.particle)
        if known is None:
            if not item.seen:
                continue
            known = _birth(item, scene)
        known, motion = _advance(known, item, scene, settings)
        particles[item.particle] = known
        moved.append(motion)
    template = state.background
    if picture is not None:
        template = absorb(template, picture, drift.yx)
    after = MotionState(
        particles=particles,
        drift=drift.yx,
        steps=mean.steps,
        magnification=lens,
        background=template,
        frame=now.frame,
    )
    return after, FieldMotion(
        drift=drift.yx,
        sigma=drift.sigma,
        gauge=gauge,
        affine=affine,
        view=view,
        magnification=magnification,
        moved=tuple(moved),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """What all particles of a frame share; `known` are those of the frames before."""

    known: dict[int, ParticleMotion]
    time: float
    drift: Drift
    affine: Affine
    view: View


def _usable(state: MotionState, measured: tuple[PositionMeasurement, ...], view: View) -> Usable:
    known = [m for m in measured if m.seen and m.particle in state.particles]
    whole = [m for m in known if not m.cut and state.particles[m.particle].anchored]
    chosen = whole or known
    of = [state.particles[m.particle] for m in chosen]
    return Usable(
        particle=tuple(m.particle for m in chosen),
        yx=view.to_reference(_stack([m.yx for m in chosen])),
        noise=error_variance(_stack([m.sigma for m in chosen]) / view.scale),
        reference=_stack([p.reference_yx for p in of]),
        reference_noise=_stack([p.reference_sigma for p in of]) ** 2,
        residual=_stack([p.residual for p in of]),
        memory=_stack([p.memory for p in of]),
    )


def _stack(rows: list[Array]) -> Array:
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


def _mean(state: MotionState, usable: Usable) -> Drift:
    if not len(usable.particle):
        return Drift(yx=state.drift, sigma=np.full(2, np.nan), steps=state.steps)
    motion = usable.yx - usable.reference - usable.residual
    return robust_mean(motion, usable.noise, usable.memory, state.steps)


def _affine(usable: Usable, drift: Array, settings: RegisterSettings) -> Affine:
    motion = usable.yx - usable.reference - drift
    variance = usable.noise + usable.reference_noise
    return fit_affine(usable.reference, motion, variance, settings.min_particles_affine)


def _birth(item: PositionMeasurement, scene: _Scene) -> ParticleMotion:
    # taken back through today's deformation, so that a late birth does not bias later strain
    at = scene.view.to_reference(item.yx) - scene.drift.yx
    reference = scene.affine.invert(at[None])[0]
    sigma = item.sigma / scene.view.scale
    return ParticleMotion(
        particle=item.particle,
        first_yx=item.yx,
        reference_yx=reference,
        reference_sigma=sigma,
        residual=at - reference,
        memory=error_variance(sigma),
        anchored=not item.cut,
        path=0.0,
        times=np.zeros(0),
        positions=np.zeros((0, 2)),
        sigmas=np.zeros((0, 2)),
    )


def _advance(
    known: ParticleMotion, item: PositionMeasurement, scene: _Scene, settings: RegisterSettings
) -> tuple[ParticleMotion, ParticleShift]:
    view, drift = scene.view, scene.drift
    expected = view.to_image(known.reference_yx + drift.yx + known.residual)
    found = UNKNOWN
    # what the frame leaves of a cut particle has a centre of its own, which moves as the cut does
    whole = item.seen and not item.cut
    yx = item.yx if whole or (item.seen and item.followed) else expected
    if whole and not known.anchored:
        known = _anchor(known, yx - expected, item.sigma, view)
    if (whole or item.followed) and item.seen and item.particle in scene.known:
        known = _filtered(known, yx, item.sigma, scene)
    elif not whole and not item.followed:
        known = replace(known, memory=known.memory + drift.steps.variance)
    if item.seen:
        known = _remember(known, yx, item.sigma, scene.time, settings.velocity_frames)
        found = rates(known.times, known.positions, known.sigmas)
    own = view.to_reference(yx) - drift.yx - known.reference_yx
    motion = ParticleShift(
        particle=known.particle,
        yx=yx,
        sigma=item.sigma,
        displacement=yx - known.first_yx,
        rates=found,
        path=known.path,
        residual=own - scene.affine.at(known.reference_yx[None])[0],
        reference_yx=known.reference_yx,
    )
    return known, motion


def _filtered(known: ParticleMotion, yx: Array, sigma: Array, scene: _Scene) -> ParticleMotion:
    own = scene.view.to_reference(yx) - scene.drift.yx - known.reference_yx
    residual, memory = own_motion(
        known.residual,
        known.memory,
        own - known.residual,
        error_variance(sigma / scene.view.scale),
        scene.drift.steps.variance,
    )
    return replace(known, residual=residual, memory=memory)


def _remember(
    known: ParticleMotion, yx: Array, sigma: Array, time: float, frames: int
) -> ParticleMotion:
    step = yx - known.positions[-1] if len(known.positions) else np.zeros(2)
    keep = frames - 1
    return replace(
        known,
        path=known.path + float(np.hypot(step[0], step[1])),
        times=np.concatenate([known.times[-keep:], [time]]),
        positions=np.concatenate([known.positions[-keep:], yx[None]]),
        sigmas=np.concatenate([known.sigmas[-keep:], sigma[None]]),
    )


def _anchor(known: ParticleMotion, offset: Array, sigma: Array, view: View) -> ParticleMotion:
    """Move what was followed of a cut particle to its centre of mass, now that it is seen whole."""
    return replace(
        known,
        first_yx=known.first_yx + offset,
        reference_yx=known.reference_yx + offset / view.scale,
        reference_sigma=sigma / view.scale,
        memory=error_variance(sigma / view.scale),
        positions=known.positions + offset,
        anchored=True,
    )
