"""Which process variables there are, and what they tell of a live view."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
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

HEARTBEAT = "HEARTBEAT"


class PvSeverity(IntEnum):
    """Severity of an alarm, as EPICS has it."""

    NO_ALARM = 0
    MINOR = 1
    MAJOR = 2
    INVALID = 3


@dataclass(frozen=True, slots=True)
class Moment:
    """What records are read from.

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessVariable:
    """One process variable.

    Attributes
    ----------
    name : what follows the prefix.
    about : one line on it.
    read : gives its value.
    severity : gives its severity; numbers that are not finite are INVALID whatever it says.
    units : of a number. precision : digits after the point.
    high, hihi : from where on a number is a MINOR and a MAJOR alarm; None for never.
    choices : of a ``choice``; whatever is none of them is told as the first.
    """

    name: str
    about: str
    read: Callable[[Moment], Value]
    kind: Kind = "number"
    severity: Callable[[Moment], PvSeverity] = lambda _moment: PvSeverity.NO_ALARM
    units: str = ""
    precision: int = 0
    high: float | None = None
    hihi: float | None = None
    choices: tuple[str, ...] = ()

    def alarm(self, moment: Moment, value: Value) -> PvSeverity:
        """Severity that goes with a value."""
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


_STATUSES = ("none", "aligned", "degraded", "skipped")

_PHASES = ("idle", "running", "ended")

_SEVERITIES = ("none", "info", "warning", "alarm")

_OF_STATUS = {"degraded": PvSeverity.MINOR, "skipped": PvSeverity.MAJOR}

_OF_ADVICE = {"warning": PvSeverity.MINOR, "alarm": PvSeverity.MAJOR}


def records() -> tuple[ProcessVariable, ...]:
    """All records that are read from results; `HOLD` is written by operators instead."""
    return (*_run(), *_motion(), *_particles(), *_pace(), *_ledger(), *_advice())


def _run() -> Iterator[ProcessVariable]:
    yield _string("RUN", "uid of the raw run", lambda m: m.view.raw)
    yield _string("SAMPLE", "name of the sample", lambda m: m.view.sample)
    yield ProcessVariable(
        name="PHASE",
        about="how far the run is",
        kind="choice",
        choices=_PHASES,
        read=lambda m: str(m.view.phase),
        severity=lambda m: (
            PvSeverity.MAJOR if m.view.exit_status in ("fail", "abort") else PvSeverity.NO_ALARM
        ),
    )
    yield ProcessVariable(
        name="FRAME",
        about="number of the newest frame, from 0; -1 before the first",
        kind="integer",
        read=lambda m: m.view.frame.number,
    )
    yield _number("ENERGY", "of the newest frame", "eV", 2, lambda m: m.view.frame.energy)
    yield ProcessVariable(
        name="STATUS",
        about="what became of the newest frame",
        kind="choice",
        choices=_STATUSES,
        read=lambda m: m.view.frame.status,
        severity=_status,
    )
    yield _text("REASON", "why it is degraded or skipped", lambda m: m.view.frame.reason, _status)


def _motion() -> Iterator[ProcessVariable]:
    yield _number("DRIFT:Y", "drift of the newest frame", "px", 3, lambda m: m.view.frame.drift.y)
    yield _number("DRIFT:X", "drift of the newest frame", "px", 3, lambda m: m.view.frame.drift.x)
    yield _number("DRIFT:SIGMA", "its standard error", "px", 3, lambda m: m.view.frame.drift.sigma)
    about = "median velocity of tracked particles"
    yield _number("VELOCITY:Y", about, "px/s", 4, lambda m: median_velocity(m.view)[0])
    yield _number("VELOCITY:X", about, "px/s", 4, lambda m: median_velocity(m.view)[1])


def _particles() -> Iterator[ProcessVariable]:
    for state in TrackState:
        yield ProcessVariable(
            name=f"PARTICLES:{state.upper()}",
            about=f"particles of the run that are {state}",
            kind="integer",
            read=lambda m, key=str(state): particle_counts(m.view)[key],
            high=1 if state is TrackState.LOST else None,
        )


def _pace() -> Iterator[ProcessVariable]:
    yield ProcessVariable(
        name="LATENCY",
        about="from the event of the newest frame to its result",
        read=lambda m: m.view.frame.latency,
        units="s",
        precision=3,
        high=5.0,
        hihi=30.0,
    )
    yield ProcessVariable(
        name="LAG",
        about="frames that were received and have no result yet",
        kind="integer",
        read=lambda m: lag(m.view),
    )
    yield _number("AGE", "time since the newest result", "s", 1, lambda m: age(m.view, m.now))
    yield _number("RATE", "results per second", "1/s", 2, lambda m: frame_rate(m.view, m.now))
    yield ProcessVariable(
        name=HEARTBEAT,
        about="counts seconds for which the processing goes on; stands still when it does not",
        kind="integer",
        read=lambda m: m.beats,
        severity=lambda m: PvSeverity.NO_ALARM if m.alive else PvSeverity.INVALID,
    )


def _ledger() -> Iterator[ProcessVariable]:
    limits = {"skipped": (1, None), "dropped": (None, 1)}
    for book in BOOKS:
        high, hihi = limits.get(book, (None, None))
        yield ProcessVariable(
            name=f"LEDGER:{book.upper()}",
            about=f"frames of the run that were {book}",
            kind="integer",
            read=lambda m, key=book: m.view.books[key],
            high=high,
            hihi=hihi,
        )


def _advice() -> Iterator[ProcessVariable]:
    yield ProcessVariable(
        name="ALERT",
        about="the worst of what is not over",
        kind="choice",
        choices=_SEVERITIES,
        read=lambda m: alert.severity if (alert := worst_alert(m.view)) else "none",
        severity=_alarm,
    )
    yield ProcessVariable(
        name="ALERT:COUNT",
        about="alerts that are not over",
        kind="integer",
        read=lambda m: len(m.view.alerts),
    )
    yield _string("ADVICE:KIND", "the newest advice", lambda m: m.view.advice.kind, _urgency)
    yield ProcessVariable(
        name="ADVICE:SEVERITY",
        about="how urgent it is",
        kind="choice",
        choices=_SEVERITIES,
        read=lambda m: m.view.advice.severity,
        severity=_urgency,
    )
    yield _text("ADVICE:MESSAGE", "in words", lambda m: m.view.advice.message, _urgency)
    yield ProcessVariable(
        name="ADVICE:PARTICLE",
        about="particle that it is about; -1 for none",
        kind="integer",
        read=lambda m: m.view.advice.particle,
    )
    about = "recommended move of the image; 0 for none"
    yield _number("ADVICE:MOVE:Y", about, "px", 2, lambda m: _or_none(m.view.advice.move[0]))
    yield _number("ADVICE:MOVE:X", about, "px", 2, lambda m: _or_none(m.view.advice.move[1]))
    yield ProcessVariable(
        name="ADVICE:ACTED",
        about="whether it was followed",
        kind="choice",
        choices=("no", "yes"),
        read=lambda m: "yes" if m.view.advice.acted else "no",
    )
    yield ProcessVariable(
        name="ADVICE:COUNT",
        about="advices in this run",
        kind="integer",
        read=lambda m: m.view.n_advices,
    )


def _number(
    name: str, about: str, units: str, precision: int, read: Callable[[Moment], float]
) -> ProcessVariable:
    return ProcessVariable(name=name, about=about, units=units, precision=precision, read=read)


def _quiet(_moment: Moment) -> PvSeverity:
    return PvSeverity.NO_ALARM


def _string(
    name: str,
    about: str,
    read: Callable[[Moment], str],
    severity: Callable[[Moment], PvSeverity] = _quiet,
) -> ProcessVariable:
    return ProcessVariable(name=name, about=about, kind="string", read=read, severity=severity)


def _text(
    name: str,
    about: str,
    read: Callable[[Moment], str],
    severity: Callable[[Moment], PvSeverity] = _quiet,
) -> ProcessVariable:
    return ProcessVariable(name=name, about=about, kind="text", read=read, severity=severity)


def _or_none(move: float) -> float:
    return move if math.isfinite(move) else 0.0


def _status(moment: Moment) -> PvSeverity:
    return _OF_STATUS.get(moment.view.frame.status, PvSeverity.NO_ALARM)


def _urgency(moment: Moment) -> PvSeverity:
    advice = moment.view.advice
    over = not advice.active or advice.acted
    return PvSeverity.NO_ALARM if over else _OF_ADVICE.get(advice.severity, PvSeverity.NO_ALARM)


def _alarm(moment: Moment) -> PvSeverity:
    alert = worst_alert(moment.view)
    return _OF_ADVICE.get(alert.severity, PvSeverity.NO_ALARM) if alert else PvSeverity.NO_ALARM
