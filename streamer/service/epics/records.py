"""The process variables, and what each tells of a live view."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from ...core.link.tracks import TrackState
from ...core.view import (
    BOOKS,
    LiveView,
    age,
    frame_rate,
    lag,
    median_velocity,
    particle_counts,
    worst_alert,
)

Kind = Literal["number", "integer", "choice", "string", "text"]
"""A ``string`` has up to 39 bytes; a ``text`` is an array of characters, as ``caget -S`` reads."""

Value = float | int | str
HOLD = "HOLD"
"""Name of the variable that operators write; all others are read from results."""


class PvSeverity(IntEnum):
    """Severity of an alarm, as EPICS has it."""

    NO_ALARM = 0
    MINOR = 1
    MAJOR = 2
    INVALID = 3


@dataclass(frozen=True, slots=True)
class Moment:
    """State of service and results that process variables are read from.

    Attributes
    ----------
    view : of the results.
    now : s since the epoch.
    alive : whether the processing goes on.
    beats : s for which it has gone on, counted by the IOC.
    """

    view: LiveView
    now: float
    alive: bool = True
    beats: int = 0


Severity = Callable[[Moment], PvSeverity]


def _no_alarm(_moment: Moment) -> PvSeverity:
    return PvSeverity.NO_ALARM


@dataclass(frozen=True, slots=True)
class ProcessVariable:
    """One process variable.

    Attributes
    ----------
    name : what follows the prefix.
    about : one line on it.
    read : gives its value.
    kind : of the value.
    severity : gives its severity; numbers that are not finite are INVALID whatever it says.
    units : of a number. precision : digits after the point.
    high, hihi : from where on a number is a MINOR and a MAJOR alarm; None for never.
    choices : of a ``choice``; whatever is none of them is told as the first.
    """

    name: str
    about: str
    read: Callable[[Moment], Value]
    kind: Kind = "number"
    severity: Severity = _no_alarm
    units: str = ""
    precision: int = 0
    high: float | None = None
    hihi: float | None = None
    choices: tuple[str, ...] = ()

    def alarm(self, moment: Moment, value: Value) -> PvSeverity:
        """Return the severity that goes with a value."""
        if isinstance(value, float) and not math.isfinite(value):
            return PvSeverity.INVALID
        own = self.severity(moment)
        if isinstance(value, str):
            return own
        if self.hihi is not None and value >= self.hihi:
            return max(own, PvSeverity.MAJOR)
        if self.high is not None and value >= self.high:
            return max(own, PvSeverity.MINOR)
        return own


def records() -> tuple[ProcessVariable, ...]:
    """Return all variables that are read from results, in the order of ``operando ioc --list``."""
    return (*_RUN, *_MOTION, *_PARTICLES, *_PACE, *_LEDGER, *_ADVICE)


def _status(moment: Moment) -> PvSeverity:
    levels = {"degraded": PvSeverity.MINOR, "skipped": PvSeverity.MAJOR}
    return levels.get(moment.view.frame.status, PvSeverity.NO_ALARM)


def _failed(moment: Moment) -> PvSeverity:
    bad = moment.view.exit_status in ("fail", "abort")
    return PvSeverity.MAJOR if bad else PvSeverity.NO_ALARM


_OF_ADVICE = {"warning": PvSeverity.MINOR, "alarm": PvSeverity.MAJOR}


def _urgency(moment: Moment) -> PvSeverity:
    advice = moment.view.advice
    over = not advice.active or advice.acted
    return PvSeverity.NO_ALARM if over else _OF_ADVICE.get(advice.severity, PvSeverity.NO_ALARM)


def _worst(moment: Moment) -> str:
    alert = worst_alert(moment.view)
    return alert.severity if alert else "none"


def _alarm(moment: Moment) -> PvSeverity:
    return _OF_ADVICE.get(_worst(moment), PvSeverity.NO_ALARM)


def _finite(move: float) -> float:
    return move if math.isfinite(move) else 0.0


_Pv = ProcessVariable
_SEVERITIES = ("none", "info", "warning", "alarm")
_RUN = (
    _Pv("RUN", "uid of the raw run", lambda m: m.view.raw, "string"),
    _Pv("SAMPLE", "name of the sample", lambda m: m.view.sample, "string"),
    _Pv(
        "PHASE",
        "how far the run is",
        lambda m: str(m.view.phase),
        "choice",
        _failed,
        choices=("idle", "running", "ended"),
    ),
    _Pv(
        "FRAME",
        "number of the newest frame, from 0; -1 before the first",
        lambda m: m.view.frame.number,
        "integer",
    ),
    _Pv("ENERGY", "of the newest frame", lambda m: m.view.frame.energy, units="eV", precision=2),
    _Pv(
        "STATUS",
        "what became of the newest frame",
        lambda m: m.view.frame.status,
        "choice",
        _status,
        choices=("none", "aligned", "degraded", "skipped"),
    ),
    _Pv("REASON", "why it is degraded or skipped", lambda m: m.view.frame.reason, "text", _status),
)


def _px(
    name: str, about: str, read: Callable[[Moment], float], precision: int = 3
) -> ProcessVariable:
    return _Pv(name, about, read, units="px", precision=precision)


def _velocity(axis: int) -> ProcessVariable:
    about = "median velocity of tracked particles"
    name = f"VELOCITY:{'YX'[axis]}"
    return _Pv(name, about, lambda m: median_velocity(m.view)[axis], units="px/s", precision=4)


_MOTION = (
    _px("DRIFT:Y", "drift of the newest frame", lambda m: m.view.frame.drift.y),
    _px("DRIFT:X", "drift of the newest frame", lambda m: m.view.frame.drift.x),
    _px("DRIFT:SIGMA", "its standard error", lambda m: m.view.frame.drift.sigma),
    _velocity(0),
    _velocity(1),
)
_PARTICLES = tuple(
    _Pv(
        f"PARTICLES:{state.upper()}",
        f"particles of the run that are {state}",
        lambda m, key=str(state): particle_counts(m.view)[key],
        "integer",
        high=1 if state is TrackState.LOST else None,
    )
    for state in TrackState
)
_PACE = (
    _Pv(
        "LATENCY",
        "from the event of the newest frame to its result",
        lambda m: m.view.frame.latency,
        units="s",
        precision=3,
        high=5.0,  # by eye: longer than an energy of a scan takes
        hihi=30.0,  # by eye
    ),
    _Pv(
        "LAG",
        "frames that were received and have no result yet",
        lambda m: lag(m.view),
        "integer",
    ),
    _Pv(
        "AGE", "time since the newest result", lambda m: age(m.view, m.now), units="s", precision=1
    ),
    _Pv(
        "RATE", "results per second", lambda m: frame_rate(m.view, m.now), units="1/s", precision=2
    ),
    _Pv(
        "HEARTBEAT",
        "counts seconds for which the processing goes on; stands still when it does not",
        lambda m: m.beats,
        "integer",
        lambda m: PvSeverity.NO_ALARM if m.alive else PvSeverity.INVALID,
    ),
)
_LEDGER = tuple(
    _Pv(
        f"LEDGER:{book.upper()}",
        f"frames of the run that were {book}",
        lambda m, key=book: m.view.books[key],
        "integer",
        high=1 if book == "skipped" else None,
        hihi=1 if book == "dropped" else None,
    )
    for book in BOOKS
)
_ADVICE = (
    _Pv("ALERT", "the worst of what is not over", _worst, "choice", _alarm, choices=_SEVERITIES),
    _Pv("ALERT:COUNT", "alerts that are not over", lambda m: len(m.view.alerts), "integer"),
    _Pv("ADVICE:KIND", "the newest advice", lambda m: m.view.advice.kind, "string", _urgency),
    _Pv(
        "ADVICE:SEVERITY",
        "how urgent it is",
        lambda m: m.view.advice.severity,
        "choice",
        _urgency,
        choices=_SEVERITIES,
    ),
    _Pv("ADVICE:MESSAGE", "in words", lambda m: m.view.advice.message, "text", _urgency),
    _Pv(
        "ADVICE:PARTICLE",
        "particle that it is about; -1 for none",
        lambda m: m.view.advice.particle,
        "integer",
    ),
    _px(
        "ADVICE:MOVE:Y",
        "recommended move of the image; 0 for none",
        lambda m: _finite(m.view.advice.move[0]),
        2,
    ),
    _px(
        "ADVICE:MOVE:X",
        "recommended move of the image; 0 for none",
        lambda m: _finite(m.view.advice.move[1]),
        2,
    ),
    _Pv(
        "ADVICE:ACTED",
        "whether it was followed",
        lambda m: "yes" if m.view.advice.acted else "no",
        "choice",
        choices=("no", "yes"),
    ),
    _Pv("ADVICE:COUNT", "advices in this run", lambda m: m.view.n_advices, "integer"),
)
