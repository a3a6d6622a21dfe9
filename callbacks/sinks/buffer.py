"""The buffer that keeps a slow sink from slowing the processor: a queue bounded in bytes."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...streamer.errors import SinkError
from .protocols import (
    AckCursor,
    ConfirmingSink,
    CongestedSink,
    Sink,
    SinkCounts,
    TickingSink,
    stripped,
    weight,
)
from .spool import Spool

_log = logging.getLogger(__name__)
Entry = tuple[int, str, Mapping[str, Any], int]
"""A queued document: its number, name, content and size in bytes."""

SPOOLED: tuple[str, Mapping[str, Any]] = ("", {})
"""Stands for a document that is still on disk."""


class BufferedSink:
    """Runs a sink in its own thread, behind a queue bounded in bytes.

    From half of `max_bytes` on the oldest documents go to the spool, if there is one, by a thread
    of their own, and come back in order: nothing is lost as long as the spool has room. A caller
    that finds the queue full waits for room, for at most `max_wait` s; then its event goes through
    without arrays: no row is ever lost. After a wait in vain nobody waits again until half of the
    queue is empty, so that a dead sink costs the processor one `max_wait` and not one per frame.

    A sink that is congested (see `CongestedSink`) is given nothing until it no longer is.

    Documents other than events always get through. They and stripped events are the only thing
    that can exceed `max_bytes`, at about 2 kB each.

    Arrays in documents are not copied: whoever makes them must not change them afterwards.

    Parameters
    ----------
    sink : called with ``(name, doc)`` in the thread; its exceptions are logged and counted. Its
        methods ``tick``, ``flush`` and ``close``, if it has them, are called there as well.
    max_bytes : bound of the queue, bytes.
    max_wait : longest wait of a caller, s.
    spool : on disk; it is closed with this object.
    """

    def __init__(
        self,
        sink: Sink,
        max_bytes: int = 256 << 20,
        *,
        max_wait: float = 0.5,
        spool: Spool | None = None,
    ) -> None:
        self.sink = sink
        self.max_bytes = max_bytes
        self.max_wait = max_wait
        self._queue: deque[Entry] = deque()
        self._cursor = AckCursor()
        self._given_before = sink.received if isinstance(sink, ConfirmingSink) else 0
        self._delivered = 0
        self._congestible = isinstance(sink, CongestedSink)
        self._spool = spool
        self._spooled = 0
        self._moving: Entry | None = None
        self._last = 0
        self._ended = False
        self._changed = threading.Condition()
        self._counts = SinkCounts()
        self._busy = False
        self._patient = True
        self._closing = False
        self._stop_by = float("inf")
        name = f"sink-{type(sink).__name__}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        if spool is not None:
            self._mover = threading.Thread(target=self._move_on, name=f"{name}-spool", daemon=True)
            self._mover.start()

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Queue a document; returns within `max_wait` s."""
        with self._changed:
            number = self._cursor.number()
            if self._closing:
                self._cursor.refuse(number)
                self._bump(received=1, dropped=1)
                return
            size = weight(name, doc)
            if name in ("event", "event_page") and not self._fits(size):
                doc, size = self._squeeze(name, doc, size)
            self._queue.append((number, name, doc, size))
            queued = self._counts.queued_bytes + size
            self._bump(received=1, queued_bytes=size)
            self._counts = replace(self._counts, peak_bytes=max(queued, self._counts.peak_bytes))
            self._changed.notify_all()

    @property
    def counts(self) -> SinkCounts:
        """Return what happened so far."""
        with self._changed:
            return replace(self._counts, queued=self._waiting())

    @property
    def received(self) -> int:
        """Return the number of documents given to it so far, those given up included."""
        return self._cursor.received

    @property
    def confirmed(self) -> int:
        """Return the largest n such that the first n documents given to it are settled.

        A document is settled when the sink behind confirms it (see `ConfirmingSink`; of a sink
        that has no notion of that: when it has taken it), when it was given up, or when the
        sink raised at it. Documents that come after `close` are never settled, nor those
        that `close` could not deliver in time.
        """
        sink = self.sink
        done = sink.confirmed - self._given_before if isinstance(sink, ConfirmingSink) else None
        with self._changed:
            self._cursor.acknowledge(self._delivered if done is None else done)
            if not self._waiting():
                return self._cursor.confirmed(None)
            return self._cursor.confirmed(
                self._queue[0][0] if self._spool is None else self._last + 1
            )

    def flush(self, timeout: float = 30.0) -> bool:
        """Wait until the sink has taken and finished everything; False if it took too long."""
        deadline = time.monotonic() + timeout
        with self._changed:
            drained = self._changed.wait_for(
                lambda: not self._waiting() and not self._busy, timeout=timeout
            )
        if not drained:
            return False
        return self._wait_for_sink(deadline)

    def close(self, timeout: float = 30.0) -> bool:
        """Deliver what waits, for at most `timeout` s, and end the thread.

        Returns
        -------
        True if everything was delivered and the sink closed.
        """
        with self._changed:
            self._closing = True
            self._stop_by = time.monotonic() + timeout
            self._changed.notify_all()
        self._thread.join(timeout + 5.0)
        with self._changed:
            self._ended = True
            left = self._waiting()
            self._changed.notify_all()
        if left:
            _log.error("%s: %d documents were not delivered in time", self._thread.name, left)
        if self._spool is not None:
            self._mover.join(5.0)
            self._spool.close()
        return not left and not self._thread.is_alive()

    # -- the caller's side, under the lock ---------------------------------------------------

    def _fits(self, size: int) -> bool:
        return self._counts.queued_bytes + size <= self.max_bytes

    def _squeeze(
        self, name: str, doc: Mapping[str, Any], size: int
    ) -> tuple[Mapping[str, Any], int]:
        if self._wait_for_room(size):
            return doc, size
        self._bump(stripped=1)
        bare = stripped(name, doc)
        return bare, weight(name, bare)

    def _wait_for_room(self, size: int) -> bool:
        if not self._patient:
            return False
        began = time.monotonic()
        fits = self._changed.wait_for(
            lambda: self._fits(size) or self._closing, timeout=self.max_wait
        )
        self._bump(blocked=time.monotonic() - began)
        self._patient = fits
        return fits

    def _bump(self, **changes: float) -> None:
        counts = self._counts
        new = {name: getattr(counts, name) + change for name, change in changes.items()}
        self._counts = replace(counts, **new)  # pyright: ignore[reportArgumentType]

    # -- the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        wait: float | None = None
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                # no one says when a congested sink is free again: look every second
                watched = wait is None and self._congestible
                self._changed.wait_for(
                    lambda: self._available() or (self._closing and not self._waiting()),
                    timeout=1.0 if watched else wait,
                )
                if self._closing and (not self._waiting() or time.monotonic() > self._stop_by):
                    break
                entry = self._take()
                self._busy = True
            if entry is SPOOLED:
                entry = self._read_back()
            if entry is not None:
                self._deliver(*entry)
            wait = self._tick()
        self._finish()

    def _waiting(self) -> int:
        """Count the documents that the sink was not given yet."""
        return len(self._queue) + self._spooled + (self._moving is not None)

    def _available(self) -> bool:
        """Tell whether a document can be given to the sink now."""
        if self._congestible and self.sink.congested:  # pyright: ignore[reportAttributeAccessIssue]
            return False
        return bool(self._spooled or (self._queue and self._moving is None))

    def _take(self) -> tuple[str, Mapping[str, Any]] | None:
        """Take the next document; None if it is to come from the spool, or there is none."""
        if not self._available():
            return None
        if self._spooled:
            return SPOOLED
        number, name, doc, size = self._queue.popleft()
        self._given(number, size)
        return name, doc

    def _given(self, number: int, size: int) -> None:
        self._cursor.delivered(number)
        self._last = number
        self._bump(queued_bytes=-size)
        if self._counts.queued_bytes <= self.max_bytes // 2:
            self._patient = True

    def _read_back(self) -> tuple[str, Mapping[str, Any]] | None:
        """Take the next document from the spool; None if it is lost."""
        assert self._spool is not None
        try:
            entry, held = self._spool.pop()
        except SinkError:
            _log.exception("%s: a document is lost", self._thread.name)
            entry, held = None, 0
        with self._changed:
            self._spooled -= 1
            number = self._last + 1
            if entry is None:
                self._cursor.refuse(number)
                self._last = number
                self._bump(lost=1)
            else:
                self._given(number, held)
        return entry

    # -- the thread that moves documents to disk ---------------------------------------------

    def _move_on(self) -> None:
        assert self._spool is not None
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ended or self._too_many())
                if self._ended:
                    return
                self._moving = self._queue.popleft()
            _, name, doc, size = self._moving
            try:
                bare, held = self._spool.append(name, doc)
            except Exception:  # noqa: BLE001 - whatever it is, the document is still here
                _log.exception("%s: the spool failed; documents stay in memory", self._mover.name)
                with self._changed:
                    self._queue.appendleft(self._moving)
                    self._moving = None
                    self._bump(errors=1)
                    self._changed.notify_all()
                return
            with self._changed:
                self._moving = None
                self._spooled += 1
                self._bump(queued_bytes=held - size, spooled=1, stripped=bare)
                if self._counts.queued_bytes <= self.max_bytes // 2:
                    self._patient = True
                self._changed.notify_all()

    def _too_many(self) -> bool:
        return bool(self._queue) and self._counts.queued_bytes > self.max_bytes // 2

    # -- the thread of the sink --------------------------------------------------------------

    def _deliver(self, name: str, doc: Mapping[str, Any]) -> None:
        try:
            self.sink(name, doc)
        except Exception:  # noqa: BLE001 - a sink of any kind may fail in any way
            _log.exception("%s: could not take a %r document", self._thread.name, name)
            with self._changed:
                self._delivered += 1
                self._bump(errors=1)
        else:
            with self._changed:
                self._delivered += 1
                self._bump(delivered=1)

    def _tick(self) -> float | None:
        if not isinstance(self.sink, TickingSink):
            return None
        try:
            wait = self.sink.tick()
        except Exception:  # noqa: BLE001 - a sink of any kind may fail in any way
            _log.exception("%s: fault between documents", self._thread.name)
            with self._changed:
                self._bump(errors=1)
            wait = 1.0
        return wait if wait is None else min(wait, 1.0)

    def _wait_for_sink(self, deadline: float) -> bool:
        """Let the thread tick until the sink says in its counts that nothing is pending."""
        while getattr(getattr(self.sink, "counts", None), "pending", 0):
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)
        return True

    def _finish(self) -> None:
        left = max(0.0, self._stop_by - time.monotonic())
        try:
            flush = getattr(self.sink, "flush", None)
            if flush is not None:
                flush(left)
            close = getattr(self.sink, "close", None)
            if close is not None:
                close()
        except Exception:  # noqa: BLE001 - a sink of any kind may fail in any way
            _log.exception("%s: fault while closing", self._thread.name)
            with self._changed:
                self._bump(errors=1)
