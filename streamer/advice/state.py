"""What is remembered to give advice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .advice import Severity

Vector = tuple[float, float]


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
