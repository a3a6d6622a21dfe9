"""Find cause for advice in one frame: in its light, focus, drift, latency and particles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import hypot, isfinite
from statistics import median

import numpy as np
from scipy.special import ndtr, stdtrit

from ....models.arrays import Array
from ..link import TrackState
from ..results import FrameResult, ParticleResult, Status
from .settings import AdviceSettings
from .state import NO_PARTICLE, NOWHERE, Advice, Kind, Path, Severity, Vector

# By eye.
_USUAL = 5.0  # a jump is so many times the usual step
_LEAST = 4  # places for a velocity
_HYSTERESIS = 1.5  # a particle is no longer leaving from so many times `leaving_s` on
_SOON = 0.25  # of `leaving_s`: an alarm
_PRESENT = (TrackState.TRACKED, TrackState.COASTING)
_SIDES = ("at the top", "at the left", "at the bottom", "at the right")
_GONE = (TrackState.LOST, TrackState.RETIRED)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertEvidence:
    """Evidence of one frame for or against one alert.

    Attributes
    ----------
    advice : for it; None if there is nothing to advise.
    over : clearly against it: between this and an advice lies the hysteresis.
    forget : it cannot come back; no end is given.
    quiet : a single event, of which no end is given.
    """

    kind: Kind
    particle: int = NO_PARTICLE
    advice: Advice | None = None
    over: bool = False
    forget: bool = False
    quiet: bool = False


def beam(result: FrameResult, settings: AdviceSettings) -> Iterator[AlertEvidence]:
    """Find frames without light, which were skipped as blank."""
    if result.status == Status.SKIPPED and result.reason == "blank":
        text = f"no beam in frame {result.frame}"
        yield _found(Kind.BEAM, Severity.ALARM, text, result, settings)
    elif result.status != Status.SKIPPED:
        yield AlertEvidence(kind=Kind.BEAM, over=True)


def blur(result: FrameResult, in_a_row: int, settings: AdviceSettings) -> Iterator[AlertEvidence]:
    """Find blurred frames, and so many of them in a row that it is the focus."""
    if not in_a_row:
        yield AlertEvidence(kind=Kind.BLURRED, over=True, quiet=True)
        yield AlertEvidence(kind=Kind.DEFOCUS, over=True)
        return
    text = f"frame {result.frame} is blurred; repeat it if it matters"
    yield _found(Kind.BLURRED, Severity.WARNING, text, result, settings)
    if in_a_row >= settings.defocus_frames:
        text = f"{in_a_row} blurred frames in a row: is it in focus?"
        yield _found(Kind.DEFOCUS, Severity.ALARM, text, result, settings)


def lost(
    result: FrameResult, known: Iterable[int], settings: AdviceSettings
) -> Iterator[AlertEvidence]:
    """Find particles that have just been lost; `known` are those that were lost before."""
    before = frozenset(known)
    left = sum(p.state in _PRESENT for p in result.particles)
    for particle in result.particles:
        number = particle.particle
        if particle.state == TrackState.LOST:
            text = f"particle {number} is lost, {left} are left"
            severity = Severity.WARNING if left else Severity.ALARM
            yield _found(Kind.LOST, severity, text, result, settings, number)
        elif number in before:
            retired = particle.state == TrackState.RETIRED
            seen = particle.state == TrackState.TRACKED
            yield AlertEvidence(kind=Kind.LOST, particle=number, forget=retired, over=seen)


def jump(
    result: FrameResult, step: float | None, usual: tuple[float, ...], settings: AdviceSettings
) -> Iterator[AlertEvidence]:
    """Find a step of the drift, px, out of all proportion; announced moves are not in it."""
    if step is None:
        return
    if step > max(settings.jump_px, _USUAL * median(usual) if usual else 0.0):
        text = f"the field has jumped by {step:.1f} px"
        yield _found(Kind.JUMP, Severity.WARNING, text, result, settings)
    else:
        yield AlertEvidence(kind=Kind.JUMP, over=True, quiet=True)


def lagging(
    result: FrameResult, latency: float, quickest: float, settings: AdviceSettings
) -> Iterator[AlertEvidence]:
    """Find results that come ever later.

    Parameters
    ----------
    latency : measured by the shell, s. quickest : its least value in this run, s: clocks of
        two computers may be apart.
    """
    lag = latency - quickest
    if lag > settings.lag_s and latency <= settings.lag_replay_s:
        advice = Advice(
            kind=Kind.LAGGING,
            severity=Severity.WARNING,
            message=f"results come {latency:.0f} s late, {lag:.0f} s more than at best",
            frame=result.frame,
            time=result.time,
            # a scan that waits as long lets the processor catch up
            valid_s=latency + lag,
        )
        yield AlertEvidence(kind=Kind.LAGGING, advice=advice)
    elif lag < settings.lag_s / 2:
        yield AlertEvidence(kind=Kind.LAGGING, over=True)


def recenter(result: FrameResult, settings: AdviceSettings) -> Iterator[AlertEvidence]:
    """Recommend the move that brings the field back to where it was at first."""
    y, x = (float(v) for v in result.drift)
    far = hypot(y, x)
    if not far <= settings.recenter_px / 2:
        sure = isfinite(far) and result.drift_sigma <= settings.recenter_sigma_px
        if far > settings.recenter_px and sure:
            text = f"the field is {far:.1f} px off; move the image by ({-y:+.1f}, {-x:+.1f}) px"
            move, sigma = (-y, -x), result.drift_sigma
            yield _found(
                Kind.RECENTER, Severity.INFO, text, result, settings, move=move, sigma=sigma
            )
        return
    yield AlertEvidence(kind=Kind.RECENTER, over=True)


def _found(
    kind: Kind,
    severity: Severity,
    message: str,
    result: FrameResult,
    settings: AdviceSettings,
    particle: int = NO_PARTICLE,
    *,
    move: Vector = NOWHERE,
    sigma: float = float("nan"),
) -> AlertEvidence:
    advice = Advice(
        kind=kind,
        severity=severity,
        message=message,
        particle=particle,
        frame=result.frame,
        time=result.time,
        valid_s=settings.valid_s,
        move=move,
        sigma=sigma,
    )
    return AlertEvidence(kind=kind, particle=particle, advice=advice)


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldExit:
    """Side and time at which a particle leaves, `left` s from now; `cut` by the rim already."""

    left: float
    side: str
    cut: bool
    velocity: Array


def add_places(
    paths: Mapping[int, Path], result: FrameResult, offset: Vector, settings: AdviceSettings
) -> dict[int, Path]:
    """Add the places of a frame to the paths; `offset` is what stage moves added to them, px."""
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
) -> Iterator[AlertEvidence]:
    """Find particles that the rim of the field is about to cut.

    A particle is taken for a disc of its area that goes on along the straight line through its
    last places. One that lies across the rim and stays there is not leaving; one that is cut and
    moves outwards is, until its centre has left.

    Parameters
    ----------
    paths : of the particles, with this frame. shape : (H, W), px.
    """
    for particle in result.particles:
        if particle.state in _GONE:
            yield AlertEvidence(kind=Kind.LEAVING, particle=particle.particle, forget=True)
            continue
        path = paths.get(particle.particle)
        if path is None or path.times[-1] != result.time:
            continue
        exit_ = _exit(particle, path, shape, settings)
        if exit_ is None or exit_.left > _HYSTERESIS * settings.leaving_s:
            yield AlertEvidence(kind=Kind.LEAVING, particle=particle.particle, over=True)
        else:
            near = exit_.left <= settings.leaving_s
            advice = _leaving(particle, exit_, result, settings) if near else None
            yield AlertEvidence(kind=Kind.LEAVING, particle=particle.particle, advice=advice)


def fit_line(path: Path) -> tuple[Array, Array] | None:
    """Fit the velocity of a path, (2,) px/s, with its standard error from the scatter.

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
) -> FieldExit | None:
    fitted = fit_line(path)
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
    return FieldExit(
        left=float(left[first]), side=_SIDES[first], cut=bool(cut[first]), velocity=velocity
    )


def _leaving(
    particle: ParticleResult, exit_: FieldExit, result: FrameResult, settings: AdviceSettings
) -> Advice:
    soon = exit_.cut or exit_.left <= _SOON * settings.leaving_s
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
