"""Advice, and the state that it is given from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Vector = tuple[float, float]
NOWHERE = (float("nan"), float("nan"))
NO_PARTICLE = -1
MOVES_STREAM = "recenter"
"""Stream of the raw run in which a feedback loop reports the moves that it has made."""


class Kind(StrEnum):
    """Subject of an advice.

    RECENTER recommends a move of the image, or reports one that was made (`Advice.acted`); LEAVING
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
    """Urgency of an advice, ascending."""

    INFO = "info"
    WARNING = "warning"
    ALARM = "alarm"


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
    acted : the move was made. active : False when an earlier alert is over.
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


ADVICE_KEYS: dict[str, tuple[str, str]] = {
    "kind": ("string", ""),
    "severity": ("string", ""),
    "message": ("string", ""),
    "particle": ("integer", ""),
    "move_y": ("number", "px"),
    "move_x": ("number", "px"),
    "acted": ("boolean", ""),
    "frame": ("integer", ""),
    "data_time": ("number", "s"),
    "sigma": ("number", "px"),
    "valid_s": ("number", "s"),
    "active": ("boolean", ""),
    "velocity_y": ("number", "px/s"),
    "velocity_x": ("number", "px/s"),
    "time_left": ("number", "s"),
}
"""Data keys of the stream with their type and unit."""


def advice_data(advice: Advice) -> dict[str, Any]:
    """Return the data of an event of the stream ``advice``."""
    return {
        "kind": str(advice.kind),
        "severity": str(advice.severity),
        "message": advice.message,
        "particle": advice.particle,
        "move_y": advice.move[0],
        "move_x": advice.move[1],
        "acted": advice.acted,
        "frame": advice.frame,
        "data_time": advice.time,
        "sigma": advice.sigma,
        "valid_s": advice.valid_s,
        "active": advice.active,
        "velocity_y": advice.velocity[0],
        "velocity_x": advice.velocity[1],
        "time_left": advice.time_left,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Latch:
    """An alert that has been given and is not over.

    Attributes
    ----------
    severity : as given last. given : data time of that, s. move : recommended then, px.
    calm : good frames in a row since.
    """

    severity: Severity
    given: float
    move: Vector
    calm: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """Latest places of one particle.

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
