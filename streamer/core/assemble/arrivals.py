"""Which events of a stream have come, and how many of those that were sent have not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..frames import Role
from .state import AssemblerState, Missing, RunState, StreamState
from .values import integer, section

Ranges = tuple[tuple[int, int], ...]
"""Event numbers as sorted half-open ranges that do not touch."""

LARGEST_SEQ_NUM = 10**9

Known = tuple[str, Ranges | None]
"""Run of a stream, and the numbers of its events that have come; None if they are not noted."""


def added(ranges: Ranges, number: int) -> Ranges:
    """Return `ranges` with `number` in them."""
    if not ranges or number > ranges[-1][1]:
        return (*ranges, (number, number + 1))
    if number == ranges[-1][1]:
        return (*ranges[:-1], (ranges[-1][0], number + 1))
    if contains(ranges, number):
        return ranges
    before = tuple(r for r in ranges if r[1] < number)
    after = tuple(r for r in ranges if r[0] > number + 1)
    near = [r for r in ranges if r[1] == number or r[0] == number + 1]
    start = min((r[0] for r in near), default=number)
    stop = max((r[1] for r in near), default=number + 1)
    return (*before, (min(start, number), max(stop, number + 1)), *after)


def contains(ranges: Ranges, number: int) -> bool:
    """Whether a number is in one of the ranges."""
    return any(start <= number < stop for start, stop in reversed(ranges))


def known_streams(state: AssemblerState) -> dict[str, Known]:
    """Which events have come of each descriptor, by its uid; noted are those of images."""
    return {
        uid: (
            stream.run,
            None if stream.image is None else state.runs[stream.run].arrived.get(stream.name, ()),
        )
        for uid, stream in state.streams.items()
        if stream.run in state.runs
    }


def missing_of(
    state: AssemblerState, run: RunState, stop: Mapping[str, Any] | None
) -> tuple[Missing, ...]:
    """What was sent in a run and never came.

    The stop document tells how many events each stream had; without one, or if it tells less than
    has come, the highest event number does. A stream that brought no image and whose descriptor
    was lost is taken for one of images if its name is that of sample images and others of the run
    have come.
    """
    told = {name: _count(n) for name, n in section(stop or {}, "num_events").items()}
    streams = {s.name: s for s in state.streams.values() if s.run == run.uid}
    out = []
    for name, stream in streams.items():
        if stream.role is not None and stream.image is not None:
            count = _absent(run.arrived.get(name, ()), told.get(name)) * frames_of(state, stream)
            out.append(Missing(run=run.uid, role=stream.role, count=count, reason="never_arrived"))
    for name, count in told.items():
        role = state.settings.streams.role_of(name)
        if name not in streams and role is Role.SAMPLE and run.announced and count:
            out.append(Missing(run=run.uid, role=role, count=count, reason="no_descriptor"))
    if not run.announced and all(item.role is not Role.SAMPLE for item in out if item.count):
        return ()  # there is nothing to account for
    return tuple(item for item in out if item.count > 0)


def _count(told: Any) -> int | None:
    """A count of events as a stop document tells it; none that no scan could have."""
    count = integer(told)
    return count if count is not None and 0 <= count <= LARGEST_SEQ_NUM else None


def _absent(arrived: Ranges, told: int | None) -> int:
    count = sum(stop - start for start, stop in arrived)
    sent = told if told is not None and told >= count else arrived[-1][1] - 1 if arrived else 0
    return max(sent - count, 0)


def frames_of(state: AssemblerState, stream: StreamState) -> int:
    """Frames that an event of a stream stands for."""
    split = state.settings.chunk == "split"
    return stream.image.per_event if split and stream.image is not None else 1
