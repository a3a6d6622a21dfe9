"""Hysteresis and rate limit: what is told, and what is not told again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import hypot, isfinite

from .advice import NO_PARTICLE, NOWHERE, Advice, Kind, Severity
from .settings import AdviceSettings
from .state import Latch, Vector

Latches = Mapping[tuple[str, int], Latch]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one frame says of one alert.

    Attributes
    ----------
    advice : what to tell; None if there is nothing.
    over : nothing to tell, and clearly so: between this and an advice lies the hysteresis.
    forget : it cannot come back; the end is not told.
    quiet : a single event, whose end is not told.
    """

    kind: Kind
    particle: int = NO_PARTICLE
    advice: Advice | None = None
    over: bool = False
    forget: bool = False
    quiet: bool = False


def settle(
    latches: Latches, findings: Iterable[Finding], now: tuple[int, float], settings: AdviceSettings
) -> tuple[Latches, tuple[Advice, ...]]:
    """Decide what is told of the findings of a frame.

    Parameters
    ----------
    now : frame, and its data time, s.

    Returns
    -------
    latches : after the frame. told : new alerts, worse ones, those that go on for long, those that
        recommend another move, and (`Advice.active` False) those that are over.
    """
    after = dict(latches)
    told: list[Advice] = []
    for finding in findings:
        key = (str(finding.kind), finding.particle)
        latch = after.pop(key, None)
        if finding.forget:
            continue
        if finding.advice is not None:
            latch, said = _raised(latch, finding.advice, settings)
            told += said
        elif finding.over and latch is not None:
            latch = replace(latch, calm=latch.calm + 1)
            if latch.calm >= settings.clear_frames:
                told += [] if finding.quiet else [_ended(finding, now, settings)]
                latch = None
        if latch is not None:
            after[key] = latch
    return after, tuple(told)


def _raised(
    latch: Latch | None, advice: Advice, settings: AdviceSettings
) -> tuple[Latch, list[Advice]]:
    fresh = Latch(severity=advice.severity, told=advice.time, move=advice.move)
    if latch is None or advice.severity.rank > latch.severity.rank:
        return fresh, [advice]
    # a clock that was set back must not silence anything
    again = not 0 <= advice.time - latch.told < settings.repeat_s
    if again or _apart(advice.move, latch.move) > settings.recenter_px:
        return fresh, [advice]
    return replace(latch, calm=0), []


def _apart(one: Vector, other: Vector) -> float:
    distance = hypot(one[0] - other[0], one[1] - other[1])
    return distance if isfinite(distance) else 0.0


def _ended(finding: Finding, now: tuple[int, float], settings: AdviceSettings) -> Advice:
    whom = f" of particle {finding.particle}" if finding.particle != NO_PARTICLE else ""
    return Advice(
        kind=finding.kind,
        severity=Severity.INFO,
        message=f"over: {finding.kind}{whom}",
        particle=finding.particle,
        frame=now[0],
        time=now[1],
        valid_s=settings.valid_s,
        move=NOWHERE,
        active=False,
    )
