"""A thread-safe queue that is bounded by bytes, because frames differ in size a thousandfold."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from time import monotonic
from typing import Generic, Literal, TypeVar

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

    def wait_empty(self, timeout: float) -> bool:
        """Wait up to `timeout` s until all items were taken; return whether they were."""
        deadline = monotonic() + timeout
        with self._changed:
            return self._changed.wait_for(lambda: not self._items, deadline - monotonic())

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
