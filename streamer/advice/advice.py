"""One advice."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

NOWHERE = (float("nan"), float("nan"))
NO_PARTICLE = -1

MOVES_STREAM = "recenter"
"""Stream of the raw run in which a feedback loop tells the moves that it has made."""


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
