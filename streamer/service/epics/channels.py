"""Records as channels of caproto."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from caproto import (
    AccessRights,
    AlarmSeverity,
    AlarmStatus,
    CaprotoValueError,
    ChannelChar,
    ChannelDouble,
    ChannelEnum,
    ChannelInteger,
    ChannelString,
)

from .records import Moment, ProcessVariable, PvSeverity, Value

_STRING_BYTES = 39

_TEXT_BYTES = 255

_LARGEST = 2**31 - 1

_CHOICES_OF_HOLD = ("go", "hold")


class Channel:
    """One record as clients see it; they cannot write to it.

    Parameters
    ----------
    record : what it tells.
    """

    def __init__(self, record: ProcessVariable) -> None:
        self.record = record
        self.data = _data(record)
        self._told: tuple[Value, PvSeverity] | None = None

    async def refresh(self, moment: Moment) -> None:
        """Tell clients, if the value or its severity has changed."""
        value = self.record.read(moment)
        severity = self.record.alarm(moment, value)
        if self._told is not None and _same(self._told, (value, severity)):
            return
        await self.data.write(
            _wire(self.record, value),
            verify_value=False,  # it would work out an alarm of its own
            status=_status(severity, value),
            severity=AlarmSeverity(severity),
        )
        self._told = (value, severity)


def make_channels(records: Iterable[ProcessVariable]) -> tuple[Channel, ...]:
    """A channel for each record."""
    return tuple(Channel(record) for record in records)


def hold_channel() -> ChannelEnum:
    """The channel of ``HOLD``, released; the only one that clients may write to."""
    return _Hold(value=_CHOICES_OF_HOLD[0], enum_strings=_CHOICES_OF_HOLD)


class _Hold(ChannelEnum):
    """An alarm while it is set, so that nobody wonders why the scan waits."""

    async def verify_value(self, data: Any) -> Any:
        """Take what is a choice, and nothing else."""
        chosen = await super().verify_value(data)
        if chosen not in _CHOICES_OF_HOLD:
            raise CaprotoValueError(f"HOLD is one of {_CHOICES_OF_HOLD}, got {chosen!r}")
        held = chosen == _CHOICES_OF_HOLD[1]
        self.status = AlarmStatus.STATE if held else AlarmStatus.NO_ALARM
        self.severity = AlarmSeverity.MINOR_ALARM if held else AlarmSeverity.NO_ALARM
        return chosen


class _ReadOnly:
    def check_access(self, hostname: str, username: str) -> AccessRights:  # noqa: ARG002
        """Whoever it is may read."""
        return AccessRights.READ


class _Double(_ReadOnly, ChannelDouble): ...


class _Integer(_ReadOnly, ChannelInteger): ...


class _Enum(_ReadOnly, ChannelEnum): ...


class _String(_ReadOnly, ChannelString): ...


class _Text(_ReadOnly, ChannelChar): ...


def _data(record: ProcessVariable) -> Any:
    if record.kind == "string":
        return _String(value="", string_encoding="utf-8")
    if record.kind == "text":
        return _Text(value="", max_length=_TEXT_BYTES + 1, string_encoding="utf-8")
    if record.kind == "choice":
        return _Enum(value=record.choices[0], enum_strings=record.choices)
    limits = {
        "units": record.units,
        # 0 is what EPICS tells where there is no limit
        "upper_warning_limit": record.high or 0,
        "upper_alarm_limit": record.hihi or 0,
    }
    if record.kind == "integer":
        return _Integer(value=0, **limits)
    return _Double(value=math.nan, precision=record.precision, **limits)


def _wire(record: ProcessVariable, value: Value) -> Value:
    if record.kind == "string":
        return _cut(str(value), _STRING_BYTES)
    if record.kind == "text":
        return _cut(str(value), _TEXT_BYTES)
    if record.kind == "choice":
        return value if value in record.choices else record.choices[0]
    return max(-_LARGEST, min(_LARGEST, int(value))) if record.kind == "integer" else value


def _cut(text: str, size: int) -> str:
    """As much of a text as has room; texts come from the beamline, and may hold anything."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    return printable.encode("utf-8", "replace")[:size].decode("utf-8", "ignore")


def _status(severity: PvSeverity, value: Value) -> AlarmStatus:
    if severity is PvSeverity.NO_ALARM:
        return AlarmStatus.NO_ALARM
    if severity is PvSeverity.INVALID:
        return AlarmStatus.UDF if isinstance(value, float) else AlarmStatus.COMM
    return AlarmStatus.STATE


def _same(told: tuple[Value, PvSeverity], now: tuple[Value, PvSeverity]) -> bool:
    return told[1] is now[1] and (told[0] == now[0] or (_is_nan(told[0]) and _is_nan(now[0])))


def _is_nan(value: Value) -> bool:
    return isinstance(value, float) and math.isnan(value)
