"""Particles that are about to leave the field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, stdtrit

from ...models.arrays import Array
from ..link import TrackState
from ..results import FrameResult, ParticleResult
from .advice import Advice, Kind, Severity
from .latches import Finding
from .settings import AdviceSettings
from .state import Path, Vector

_LEAST = 4  # places for a velocity
_HYSTERESIS = 1.5
_SIDES = ("at the top", "at the left", "at the bottom", "at the right")
_GONE = (TrackState.LOST, TrackState.RETIRED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """Where and when a particle leaves: `left` s from now; `cut` if the rim cuts it already."""

    left: float
    side: str
    cut: bool
    velocity: Array


def followed(
    paths: Mapping[int, Path], result: FrameResult, offset: Vector, settings: AdviceSettings
) -> dict[int, Path]:
    """Remember the places of a frame; `offset` is what stage moves have added to them, px."""
    after = dict(paths)
    for particle in result.particles:
        if particle.state in _GONE:
            after.pop(particle.particle, None)
        elif np.isfinite(particle.area) and particle.state == TrackState.TRACKED:
            known = after.get(particle.particle, Path())
            here = (float(particle.yx[0]) - offset[0], float(particle.yx[1]) - offset[1])
            keep = settings.leaving_frames - 1
            after[particle.particle] = Path(
                times=(*known.times[-keep:], result.time),
                places=(*known.places[-keep:], here),
                radius=float(np.sqrt(particle.area / np.pi)),
            )
    return after


def leaving(
    paths: Mapping[int, Path], result: FrameResult, shape: Vector, settings: AdviceSettings
) -> Iterator[Finding]:
    """Tell which particles the rim of the field is about to cut.

    A particle is taken for a disc of its area that goes on along the straight line through its
    last places. One that lies across the rim and stays there is not leaving; one that is cut and
    moves outwards is, until its centre has left.

    Parameters
    ----------
    paths : of the particles, with this frame. shape : (H, W), px.
    """
    for particle in result.particles:
        if particle.state in _GONE:
            yield Finding(kind=Kind.LEAVING, particle=particle.particle, forget=True)
            continue
        path = paths.get(particle.particle)
        if path is None or path.times[-1] != result.time:
            continue
        exit_ = _exit(particle, path, shape, settings)
        if exit_ is None or exit_.left > _HYSTERESIS * settings.leaving_s:
            yield Finding(kind=Kind.LEAVING, particle=particle.particle, over=True)
        else:
            told = exit_.left <= settings.leaving_s
            advice = _advice(particle, exit_, result, settings) if told else None
            yield Finding(kind=Kind.LEAVING, particle=particle.particle, advice=advice)


def line(path: Path) -> tuple[Array, Array] | None:
    """Least-squares velocity of a path, (2,) px/s, and its standard error from the scatter.

    None for too few places, or times that do not advance.
    """
    times, places = np.array(path.times), np.array(path.places)
    if len(times) < _LEAST or not (np.diff(times) > 0).all():
        return None
    centred = times - times.mean()
    spread = float((centred**2).sum())
    velocity = centred @ places / spread
    rest = places - places.mean(axis=0) - centred[:, None] * velocity
    return velocity, np.sqrt((rest**2).sum(axis=0) / (len(times) - 2) / spread)


def _exit(
    particle: ParticleResult, path: Path, shape: Vector, settings: AdviceSettings
) -> Exit | None:
    fitted = line(path)
    if fitted is None:
        return None
    velocity, error = fitted
    yx = np.asarray(particle.yx)
    speed = np.concatenate([-velocity, velocity])
    wanted = -float(stdtrit(len(path.times) - 2, ndtr(-settings.leaving_sigma)))
    sure = speed > wanted * np.concatenate([error, error])
    centre = np.concatenate([yx, np.array(shape) - 1 - yx]) + 0.5
    rim = centre - path.radius
    cut = rim <= 0
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.where(sure, np.maximum(np.where(cut, centre, rim), 0) / speed, np.inf)
    first = int(left.argmin())
    if not np.isfinite(left[first]):
        return None
    return Exit(
        left=float(left[first]), side=_SIDES[first], cut=bool(cut[first]), velocity=velocity
    )


def _advice(
    particle: ParticleResult, exit_: Exit, result: FrameResult, settings: AdviceSettings
) -> Advice:
    soon = exit_.cut or exit_.left <= settings.leaving_s / 4
    what = "is being cut" if exit_.cut else "reaches the rim"
    vy, vx = (float(v) for v in exit_.velocity)
    return Advice(
        kind=Kind.LEAVING,
        severity=Severity.ALARM if soon else Severity.WARNING,
        message=f"particle {particle.particle} {what} {exit_.side}, {exit_.left:.0f} s left at "
        f"({vy:+.2f}, {vx:+.2f}) px/s",
        particle=particle.particle,
        frame=result.frame,
        time=result.time,
        valid_s=settings.valid_s,
        velocity=(vy, vx),
        time_left=exit_.left,
    )
