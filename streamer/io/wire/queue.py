"""A thread-safe queue bounded by bytes, and what had to be given up for want of room.

Bytes, not items, because frames differ in size a thousandfold.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from ...core.frames import Document, NamedDocument

T = TypeVar("T")
WhenFull = Literal["block", "drop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueCounters:
    """Numbers of a queue: held and refused."""

    queued: int
    queued_bytes: int
    dropped: int
    dropped_bytes: int


class ByteQueue(Generic[T]):
    """First in, first out; holds up to `max_bytes`.

    An item larger than `max_bytes` is admitted when the queue is empty, so that no size of frame
    brings the stream to a stand. Essential items (the few small documents without which the rest
    means nothing) are admitted up to a quarter beyond the bound.

    Parameters
    ----------
    max_bytes : bound, bytes.
    when_full : ``block`` makes `put` wait, ``drop`` makes it refuse and count.
    """

    def __init__(self, max_bytes: int, when_full: WhenFull = "drop") -> None:
        self._max_bytes = max_bytes
        self._reserve = max(max_bytes // 4, 1 << 16)
        self._when_full: WhenFull = when_full
        self._items: deque[tuple[T, int]] = deque()
        self._bytes = 0
        self._dropped = 0
        self._dropped_bytes = 0
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: T, nbytes: int, *, essential: bool = False) -> bool:
        """Append an item; return whether it was admitted."""
        bound = self._max_bytes + (self._reserve if essential else 0)
        with self._changed:
            while not self._closed and self._items and self._bytes + nbytes > bound:
                if self._when_full == "drop":
                    return self._drop(nbytes)
                self._changed.wait()
            if self._closed:
                return self._drop(nbytes)
            self._items.append((item, nbytes))
            self._bytes += nbytes
            self._changed.notify_all()
            return True

    def take(self, max_items: int = 1, timeout: float | None = None) -> list[T]:
        """Remove up to `max_items`, waiting up to `timeout` s (None: for ever) for the first."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed, timeout)
            taken = [self._items.popleft() for _ in range(min(max_items, len(self._items)))]
            self._bytes -= sum(nbytes for _, nbytes in taken)
            if taken:
                self._changed.notify_all()
            return [item for item, _ in taken]

    def close(self) -> None:
        """Refuse further items and wake everybody; what is queued can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def exhausted(self) -> bool:
        """Return whether the queue is closed and empty."""
        with self._changed:
            return self._closed and not self._items

    def counters(self) -> QueueCounters:
        """Return what the queue holds and what it refused."""
        with self._changed:
            return QueueCounters(
                queued=len(self._items),
                queued_bytes=self._bytes,
                dropped=self._dropped,
                dropped_bytes=self._dropped_bytes,
            )

    def _drop(self, nbytes: int) -> bool:
        self._dropped += 1
        self._dropped_bytes += nbytes
        return False


DROPPED = "dropped"
"""Name under which the processor is told of events that a source gave up. No publisher can send
it: on the wire only the names of the event model are let through."""

OVERLOAD = "overload"
"""Reason of the ledger: more came than could be processed, and there was no room to keep it."""


class Losses:
    """Events that were given up and not passed on yet, as ranges of their numbers."""

    def __init__(self) -> None:
        self._ranges: dict[str, list[list[int]]] = {}

    def __bool__(self) -> bool:
        """Return whether there is something to pass on."""
        return bool(self._ranges)

    def add(self, name: str, doc: Document) -> None:
        """Note a document that was given up; what is no event is for others to count."""
        for number in _numbers(name, doc):
            ranges = self._ranges.setdefault(str(doc.get("descriptor", "")), [])
            if ranges and ranges[-1][1] + 1 == number:
                ranges[-1][1] = number
            else:
                ranges.append([number, number])

    def documents(self) -> tuple[NamedDocument, ...]:
        """Return one document for each descriptor whose events were given up."""
        return tuple(
            (DROPPED, {"descriptor": key, "seq_nums": ranges, "reason": OVERLOAD})
            for key, ranges in self._ranges.items()
        )

    def clear(self) -> None:
        """Forget what has been passed on."""
        self._ranges = {}


def _numbers(name: str, doc: Document) -> list[int]:
    numbers = doc.get("seq_num")
    if name == "event":
        numbers = [numbers]
    elif name != "event_page" or not isinstance(numbers, list | tuple):
        return []
    return [n for n in numbers if isinstance(n, int) and not isinstance(n, bool) and n > 0]
