"""What is remembered to give advice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import hypot, isfinite

from .settings import AdviceSettings

Vector = tuple[float, float]
NOWHERE = (float("nan"), float("nan"))
NO_PARTICLE = -1
MOVES_STREAM = "recenter"
"""Stream of the raw run in which a feedback loop tells the moves that it has made."""

# One advice.


class Kind(StrEnum):
    """What an advice is about.

    RECENTER recommends a move of the image, or tells one that was made (`Advice.acted`); LEAVING
    and LOST are of one particle; BLURRED is one frame, DEFOCUS several in a row; BEAM is no light;
    JUMP a common shift from one frame to the next; LAGGING results that come late.
    """

    RECENTER = "recenter"
    LEAVING = "leaving"
    LOST = "lost"
    BLURRED = "blurred"
    DEFOCUS = "defocus"
    BEAM = "beam"
    JUMP = "jump"
    LAGGING = "lagging"


class Severity(StrEnum):
    """How bad it is."""

    INFO = "info"
    WARNING = "warning"
    ALARM = "alarm"

    @property
    def rank(self) -> int:
        """0 for `INFO`, more for what is worse."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """An alert, or a recommended move; nothing moves by it alone.

    Attributes
    ----------
    message : for the operator, with its figures.
    particle : identity, -1 if it concerns all.
    frame : 0-based count in the raw run. time : data time of that frame, s.
    move : (y, x) by which the image should move, px; NaN if none is recommended.
    sigma : standard error of `move`, px; NaN if unknown.
    velocity : (y, x) of the particle or the field, px/s; NaN if not asked.
    time_left : until a particle begins to leave the field, s; NaN else.
    valid_s : for how long after `time` it may be acted on, s.
    acted : the move was made. active : False when what was told before is over.
    """

    kind: Kind
    severity: Severity
    message: str
    frame: int
    time: float
    valid_s: float
    particle: int = NO_PARTICLE
    move: tuple[float, float] = NOWHERE
    sigma: float = float("nan")
    velocity: tuple[float, float] = NOWHERE
    time_left: float = float("nan")
    acted: bool = False
    active: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Latch:
    """An alert that has been told and is not over.

    Attributes
    ----------
    severity : as told last. told : data time of that, s. move : recommended then, px.
    calm : good frames in a row since.
    """

    severity: Severity
    told: float
    move: Vector
    calm: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """Last places of one particle.

    Attributes
    ----------
    times : s. places : (y, x), px, moves of the stage taken out.
    radius : of a disc of its area when last seen, px.
    """

    times: tuple[float, ...] = ()
    places: tuple[Vector, ...] = ()
    radius: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StageMove:
    """A move of the image that somebody made; `move` (y, x) px at `time`, s, data time.

    NaN for one of which nobody knows how it shifts the image.
    """

    time: float
    move: Vector
    sigma: float = float("nan")
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdviceState:
    """State of the advice of one run.

    Attributes
    ----------
    latches : by kind and particle.
    paths : by particle.
    pending : moves that no frame has shown yet, the oldest first. newest : time of the last, s.
    offset : (y, x) by which all moves so far have shifted the image, px.
    drift : (y, x) of the last frame without those, px; None before the first.
    steps : lengths of its last steps, px.
    blurred : frames in a row.
    quickest : least latency so far, s.
    """

    latches: Mapping[tuple[str, int], Latch] = field(default_factory=dict)
    paths: Mapping[int, Path] = field(default_factory=dict)
    pending: tuple[StageMove, ...] = ()
    newest: float = float("-inf")
    offset: Vector = (0.0, 0.0)
    drift: Vector | None = None
    steps: tuple[float, ...] = ()
    blurred: int = 0
    quickest: float = float("inf")


# Hysteresis and rate limit: what is told, and what is not told again.


Latches = Mapping[tuple[str, int], Latch]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertEvidence:
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
    latches: Latches,
    findings: Iterable[AlertEvidence],
    now: tuple[int, float],
    settings: AdviceSettings,
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


def _ended(finding: AlertEvidence, now: tuple[int, float], settings: AdviceSettings) -> Advice:
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
