"""Alerts of the field as a whole, and of particles that are lost; what to do about drift."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import hypot, isfinite
from statistics import median

from ..link import TrackState
from ..results import FrameResult, Status
from .advice import NO_PARTICLE, NOWHERE, Advice, Kind, Severity
from .latches import Finding
from .settings import AdviceSettings
from .state import Vector

_USUAL = 5.0  # a jump is so many times the usual step
_PRESENT = (TrackState.TRACKED, TrackState.COASTING)


def is_blurred(result: FrameResult) -> bool:
    """Whether a frame was judged to be blurred."""
    return "blurred" in result.reason.split(";")


def beam(result: FrameResult, settings: AdviceSettings) -> Iterator[Finding]:
    """No light: frames that were skipped as blank."""
    if result.status == Status.SKIPPED and result.reason == "blank":
        text = f"no beam in frame {result.frame}"
        yield _found(Kind.BEAM, Severity.ALARM, text, result, settings)
    elif result.status != Status.SKIPPED:
        yield Finding(kind=Kind.BEAM, over=True)


def blur(result: FrameResult, in_a_row: int, settings: AdviceSettings) -> Iterator[Finding]:
    """Blurred frames, and so many of them in a row that it is the focus."""
    if not in_a_row:
        yield Finding(kind=Kind.BLURRED, over=True, quiet=True)
        yield Finding(kind=Kind.DEFOCUS, over=True)
        return
    text = f"frame {result.frame} is blurred; repeat it if it matters"
    yield _found(Kind.BLURRED, Severity.WARNING, text, result, settings)
    if in_a_row >= settings.defocus_frames:
        text = f"{in_a_row} blurred frames in a row: is it in focus?"
        yield _found(Kind.DEFOCUS, Severity.ALARM, text, result, settings)


def lost(result: FrameResult, known: Iterable[int], settings: AdviceSettings) -> Iterator[Finding]:
    """Particles that have just been given up; `known` are those told as lost before."""
    told = frozenset(known)
    left = sum(p.state in _PRESENT for p in result.particles)
    for particle in result.particles:
        number = particle.particle
        if particle.state == TrackState.LOST:
            text = f"particle {number} is lost, {left} are left"
            severity = Severity.WARNING if left else Severity.ALARM
            yield _found(Kind.LOST, severity, text, result, settings, number)
        elif number in told:
            retired = particle.state == TrackState.RETIRED
            seen = particle.state == TrackState.TRACKED
            yield Finding(kind=Kind.LOST, particle=number, forget=retired, over=seen)


def jump(
    result: FrameResult, step: float | None, usual: tuple[float, ...], settings: AdviceSettings
) -> Iterator[Finding]:
    """A step of the drift, px, out of all proportion; moves that were announced are not in it."""
    if step is None:
        return
    if step > max(settings.jump_px, _USUAL * median(usual) if usual else 0.0):
        text = f"the field has jumped by {step:.1f} px"
        yield _found(Kind.JUMP, Severity.WARNING, text, result, settings)
    else:
        yield Finding(kind=Kind.JUMP, over=True, quiet=True)


def lagging(
    result: FrameResult, latency: float, quickest: float, settings: AdviceSettings
) -> Iterator[Finding]:
    """Results that come ever later.

    Parameters
    ----------
    latency : what the shell has measured, s. quickest : its least value in this run, s: clocks of
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
        yield Finding(kind=Kind.LAGGING, advice=advice)
    elif lag < settings.lag_s / 2:
        yield Finding(kind=Kind.LAGGING, over=True)


def recenter(result: FrameResult, settings: AdviceSettings) -> Iterator[Finding]:
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
    yield Finding(kind=Kind.RECENTER, over=True)


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
) -> Finding:
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
    return Finding(kind=kind, particle=particle, advice=advice)
