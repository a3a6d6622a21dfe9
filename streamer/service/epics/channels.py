"""The process variables as a `PVGroup` of caproto, which is imported with this module."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any, NoReturn

from caproto import AlarmSeverity, AlarmStatus, CaprotoValueError, ChannelType
from caproto.asyncio.server import Context
from caproto.server import PVGroup, pvproperty

from .records import HOLD, Moment, ProcessVariable, PvSeverity, Value

_STRING_BYTES = 39
_TEXT_BYTES = 255
_LARGEST = 2**31 - 1  # of EPICS' LONG
_CHOICES_OF_HOLD = ("go", "hold")
_pvproperty: Any = pvproperty  # its annotations leave out the `ChannelType` that it takes


class ResultVariables:
    """Process variables of results, which clients read, and ``HOLD``, which they write.

    Parameters
    ----------
    prefix : of all names.
    records : what is told.
    """

    def __init__(self, prefix: str, records: Sequence[ProcessVariable]) -> None:
        members = {record.name: _property(record) for record in records}
        self._group = type("Variables", (PVGroup,), {**members, HOLD: _hold()})(prefix=prefix)
        self._records = {record.name: record for record in records}
        self._told: dict[str, tuple[Value, PvSeverity]] = {}

    def context(self, *, beacons: bool) -> Context:
        """Return a server of the variables, which tells by beacons that it is there, or does not.

        On loopback beacons reach nothing but a ``caRepeater``, and where none runs the stock server
        logs a traceback for each.
        """
        return (Context if beacons else _SilentContext)(dict(self._group.pvdb))

    @property
    def held(self) -> bool:
        """Return whether an operator has set ``HOLD``."""
        return getattr(self._group, HOLD).value == _CHOICES_OF_HOLD[1]

    async def refresh(self, name: str, moment: Moment) -> None:
        """Tell clients of one variable, if its value or its severity has changed."""
        record = self._records[name]
        value = record.read(moment)
        severity = record.alarm(moment, value)
        if name in self._told and _same(self._told[name], (value, severity)):
            return
        await getattr(self._group, name).write(
            _wire(record, value),
            verify_value=False,  # it would work out an alarm of its own
            status=_alarm_status(severity, value),
            severity=AlarmSeverity(severity),
        )
        self._told[name] = (value, severity)


class _SilentContext(Context):
    async def broadcast_beacon_loop(self) -> NoReturn:
        """Wait to be cancelled."""
        while True:
            await asyncio.Event().wait()


def _property(record: ProcessVariable) -> Any:
    """Return the read-only property of a record."""
    options: dict[str, Any] = {
        "name": record.name,
        "doc": record.about,
        "read_only": True,
        "alarm_group": record.name,  # an alarm of its own
    }
    if record.kind == "string":
        return _pvproperty(value="", dtype=ChannelType.STRING, string_encoding="utf-8", **options)
    if record.kind == "text":
        size = _TEXT_BYTES + 1
        options |= {"max_length": size, "string_encoding": "utf-8"}
        return _pvproperty(value="", dtype=ChannelType.CHAR, **options)
    if record.kind == "choice":
        options |= {"dtype": ChannelType.ENUM, "enum_strings": record.choices}
        return _pvproperty(value=record.choices[0], **options)
    # 0 is what EPICS tells where there is no limit
    options |= {"upper_warning_limit": record.high or 0, "upper_alarm_limit": record.hihi or 0}
    if record.kind == "integer":
        return _pvproperty(value=0, dtype=ChannelType.LONG, units=record.units, **options)
    options |= {"units": record.units, "precision": record.precision}
    return _pvproperty(value=math.nan, dtype=ChannelType.DOUBLE, **options)


def _hold() -> Any:
    """Return ``HOLD``, released; an alarm while it is set, so that nobody wonders at a wait."""

    async def put(_group: PVGroup, instance: Any, value: Any) -> Any:
        if value not in _CHOICES_OF_HOLD:
            raise CaprotoValueError(f"HOLD is one of {_CHOICES_OF_HOLD}, got {value!r}")
        held = value == _CHOICES_OF_HOLD[1]
        await instance.alarm.write(
            status=AlarmStatus.STATE if held else AlarmStatus.NO_ALARM,
            severity=AlarmSeverity.MINOR_ALARM if held else AlarmSeverity.NO_ALARM,
        )
        return value

    return _pvproperty(
        name=HOLD,
        put=put,
        value=_CHOICES_OF_HOLD[0],
        dtype=ChannelType.ENUM,
        enum_strings=_CHOICES_OF_HOLD,
        alarm_group=HOLD,
    )


def _wire(record: ProcessVariable, value: Value) -> Value:
    if record.kind == "string":
        return _cut(str(value), _STRING_BYTES)
    if record.kind == "text":
        return _cut(str(value), _TEXT_BYTES)
    if record.kind == "choice":
        return value if value in record.choices else record.choices[0]
    return max(-_LARGEST, min(_LARGEST, int(value))) if record.kind == "integer" else value


def _cut(text: str, size: int) -> str:
    """Return as much of a text as has room; texts of the beamline may hold anything."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    return printable.encode("utf-8", "replace")[:size].decode("utf-8", "ignore")


def _alarm_status(severity: PvSeverity, value: Value) -> AlarmStatus:
    if severity is PvSeverity.NO_ALARM:
        return AlarmStatus.NO_ALARM
    if severity is PvSeverity.INVALID:
        return AlarmStatus.UDF if isinstance(value, float) else AlarmStatus.COMM
    return AlarmStatus.STATE


def _same(told: tuple[Value, PvSeverity], now: tuple[Value, PvSeverity]) -> bool:
    unknown = told[0] != told[0] and now[0] != now[0]  # both NaN
    return told[1] is now[1] and (told[0] == now[0] or unknown)
