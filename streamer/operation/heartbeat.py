"""Whether the processing goes on: signs of life that any thread may look at."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """The signs of life at one moment.

    Attributes
    ----------
    silent_for : s since the last sign of life.
    busy_for : s since the documents in work were taken; None if none are in work.
    document_age : s since documents came last; None if none have come.
    documents : documents taken so far. seconds : spent on those that are done, s.
    """

    silent_for: float
    busy_for: float | None
    document_age: float | None
    documents: int
    seconds: float


class Heartbeat:
    """Told of every step of the service, and in between of every result that comes out.

    Parameters
    ----------
    clock : monotonic clock, s.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last = clock()
        self._busy_since: float | None = None
        self._document_at: float | None = None
        self._documents = 0
        self._seconds = 0.0

    def beat(self) -> None:
        """Give a sign of life."""
        with self._lock:
            self._last = self._clock()

    @contextmanager
    def work(self, documents: int) -> Iterator[None]:
        """Within this, so many documents are in work."""
        with self._lock:
            began = self._last = self._busy_since = self._document_at = self._clock()
            self._documents += documents
        try:
            yield
        finally:
            with self._lock:
                self._last = self._clock()
                self._seconds += self._last - began
                self._busy_since = None

    def pulse(self) -> Pulse:
        """Look at the signs of life."""
        with self._lock:
            now = self._clock()
            busy, came = self._busy_since, self._document_at
            return Pulse(
                silent_for=now - self._last,
                busy_for=None if busy is None else now - busy,
                document_age=None if came is None else now - came,
                documents=self._documents,
                seconds=self._seconds,
            )
