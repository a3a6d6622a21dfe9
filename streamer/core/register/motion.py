"""Motion of all particles of a sample, advanced frame by frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ....models.arrays import Array
from .background import BackgroundTemplate, BackgroundView, absorb, at_reference, find
from .deformation import (
    Affine,
    Magnification,
    MagnificationState,
    View,
    fit_affine,
    init_magnification,
    update_magnification,
    view_of,
)
from .drift import Drift, Gauge, Steps, Usable, choose, error_variance, robust_mean
from .particle import CommonMotion, ParticleMotion, ParticleShift, PositionMeasurement, advance
from .settings import RegisterSettings


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
    """Measurements of one frame that motion is advanced by.

    Attributes
    ----------
    frame : 0-based count in the run. time : data time, s. energy : eV, None if unknown.
    shape : (H, W) px.
    measured : positions; an unseen particle keeps its residual and coasts.
    background : what lies between the particles, for the gauge that needs it.
    """

    frame: int
    time: float
    energy: float | None
    shape: tuple[int, int]
    measured: tuple[PositionMeasurement, ...]
    background: BackgroundView | None = None


def init() -> MotionState:
    """Return the state before the first frame of a sample."""
    return MotionState(
        particles={}, drift=np.zeros(2), steps=Steps(), magnification=init_magnification()
    )


def last_places(state: MotionState) -> dict[int, Array]:
    """Return the last place of each particle, (2,) px in the image; roughly, after a gap."""
    return {
        key: p.positions[-1] if len(p.positions) else p.reference_yx + state.drift + p.residual
        for key, p in state.particles.items()
    }


def recentred(state: MotionState, by: Mapping[int, Array]) -> MotionState:
    """Make another point of each particle its place, (2,) px away from that so far."""
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
    lens, view = view_of(state.magnification, now.energy, now.shape, settings)
    usable = _usable(state, now.measured, view)
    mean = Drift(yx=state.drift, sigma=np.full(2, np.nan), steps=state.steps)
    if len(usable.particle):
        motion = usable.yx - usable.reference - usable.residual
        mean = robust_mean(motion, usable.noise, usable.residual_variance, state.steps)
    found, seen = None, now.background
    if seen is not None:
        seen = at_reference(seen, view.scale, view.axis_yx)
        reach, least = settings.background_search_px, settings.background_peak
        found = find(state.background, seen, mean.yx, reach, least)
    drift, gauge = choose(settings, usable, mean, found)
    affine = fit_affine(
        usable.reference,
        usable.yx - usable.reference - drift.yx,
        usable.noise + usable.reference_noise,
        settings.min_particles_affine,
    )
    lens, magnification = update_magnification(lens, now.time, view, affine, settings)
    particles, moved = dict(state.particles), []
    common = CommonMotion(time=now.time, drift=drift, affine=affine, view=view)
    for item in now.measured:
        known = state.particles.get(item.particle)
        if known or item.seen:
            after, shift = advance(known, item, common, settings.velocity_frames)
            particles[item.particle] = after
            moved.append(shift)
    return MotionState(
        particles=particles,
        drift=drift.yx,
        steps=mean.steps,
        magnification=lens,
        background=state.background if seen is None else absorb(state.background, seen, drift.yx),
        frame=now.frame,
    ), FieldMotion(
        drift=drift.yx,
        sigma=drift.sigma,
        gauge=gauge,
        affine=affine,
        view=view,
        magnification=magnification,
        moved=tuple(moved),
    )


def _usable(state: MotionState, measured: tuple[PositionMeasurement, ...], view: View) -> Usable:
    known = [m for m in measured if m.seen and m.particle in state.particles]
    whole = [m for m in known if not m.cut and state.particles[m.particle].whole]
    chosen = whole or known
    of = [state.particles[m.particle] for m in chosen]
    pairs = (
        [m.yx for m in chosen],
        [m.sigma for m in chosen],
        [p.reference_yx for p in of],
        [p.reference_sigma for p in of],
        [p.residual for p in of],
        [p.residual_variance for p in of],
    )
    yx, sigma, reference, reference_sigma, residual, variance = (
        np.array(rows, dtype=np.float64).reshape(-1, 2) for rows in pairs
    )
    return Usable(
        particle=tuple(m.particle for m in chosen),
        yx=view.to_reference(yx),
        noise=error_variance(sigma / view.scale),
        reference=reference,
        reference_noise=reference_sigma**2,
        residual=residual,
        residual_variance=variance,
    )
