"""Where result documents go, and the buffer that keeps a slow sink from slowing the processor.

A sink is anything called with ``(name, doc)``. Wrapped in a `BufferedSink` it runs in a thread
of its own behind a queue that is bounded in bytes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pkgutil import resolve_name
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from .confirmation import ConfirmingSink, Settled

_log = logging.getLogger(__name__)

Policy = Literal["block", "strip", "latest"]

Entry = tuple[int, str, Mapping[str, Any], int]
"""A queued document: its number, name, content and size in bytes."""

SINKS: dict[str, str] = {
    "tiled": "operando.callbacks.tiled_sink:TiledSink",
    "recording": "operando.streamer.recording.writer:RecordingWriter",
    "zmq": "operando.callbacks.publisher:FramePublisher",
}
"""Sinks by name; a dotted path ``package.module:Object`` needs no entry here."""

DOCUMENT_BYTES = 2048
"""What a document is taken to weigh beside its arrays."""


@runtime_checkable
class Sink(Protocol):
    """Anything that result documents can be given to."""

    def __call__(self, name: str, doc: Mapping[str, Any], /) -> object:
        """Take one document."""
        ...


@runtime_checkable
class TickingSink(Sink, Protocol):
    """A sink that also works between documents."""

    def tick(self) -> float | None:
        """Do what is due; return in how many seconds to call again, None for no need."""
        ...


def resolve_sink(name: str) -> Any:
    """Return the sink class or callable that `name` stands for.

    Parameters
    ----------
    name : a key of `SINKS`, or a dotted path ``package.module:Object``.
    """
    return resolve_name(SINKS.get(name, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkCounts:
    """What went through a `BufferedSink`.

    Attributes
    ----------
    received : documents given to it.
    delivered : documents that the sink took.
    stripped : events that were passed on without their arrays, for want of room.
    dropped : events that were given up, for want of room.
    errors : documents at which the sink raised.
    queued : documents waiting.
    queued_bytes : their size.
    peak_bytes : the largest size of the queue so far.
    blocked : s that callers were made to wait, in all.
    """

    received: int = 0
    delivered: int = 0
    stripped: int = 0
    dropped: int = 0
    errors: int = 0
    queued: int = 0
    queued_bytes: int = 0
    peak_bytes: int = 0
    blocked: float = 0.0


class BufferedSink:
    """Runs a sink in its own thread, behind a queue bounded in bytes.

    What happens when the queue is full is the policy:

    ``block``
        The caller waits for room, for at most `max_wait` s; then as ``strip``. After a wait in
        vain nobody waits again until half of the queue is empty, so that a dead sink costs the
        processor one `max_wait` and not one per frame.
    ``strip``
        The event goes through without its arrays: no row is ever lost.
    ``latest``
        The oldest events give way: for live views.

    Documents other than events always get through. They and stripped events are the only thing
    that can exceed `max_bytes`, at about 2 kB each.

    Arrays in documents are not copied: whoever makes them must not change them afterwards.

    Parameters
    ----------
    sink : called with ``(name, doc)`` in the thread; its exceptions are logged and counted. Its
        methods ``tick``, ``flush`` and ``close``, if it has them, are called there as well.
    max_bytes : bound of the queue, bytes.
    policy : see above.
    max_wait : longest wait of a caller under ``block``, s.
    """

    def __init__(
        self,
        sink: Sink,
        max_bytes: int = 256 << 20,
        policy: Policy = "block",
        *,
        max_wait: float = 0.5,
    ) -> None:
        self.sink = sink
        self.max_bytes = max_bytes
        self.policy: Policy = policy
        self.max_wait = max_wait
        self._queue: deque[Entry] = deque()
        self._settled = Settled()
        self._given_before = sink.received if isinstance(sink, ConfirmingSink) else 0
        self._delivered = 0
        self._changed = threading.Condition()
        self._counts = SinkCounts()
        self._busy = False
        self._patient = True
        self._closing = False
        self._stop_by = float("inf")
        name = f"sink-{type(sink).__name__}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Queue a document; returns within `max_wait` s under ``block``, else at once."""
        with self._changed:
            number = self._settled.number()
            if self._closing:
                self._settled.refuse(number)
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
        """What happened so far."""
        with self._changed:
            return replace(self._counts, queued=len(self._queue))

    @property
    def received(self) -> int:
        """Documents given to it so far; those given up for want of room, too."""
        return self._settled.received

    @property
    def confirmed(self) -> int:
        """Largest n such that the first n documents given to it are settled.

        A document is settled when the sink behind confirms it (see `ConfirmingSink`; of a sink
        that has no notion of that: when it has taken it), when it was given up by the policy, or
        when the sink raised at it. Documents that come after `close` are never settled, nor those
        that `close` could not deliver in time.
        """
        sink = self.sink
        done = sink.confirmed - self._given_before if isinstance(sink, ConfirmingSink) else None
        with self._changed:
            self._settled.settle(self._delivered if done is None else done)
            return self._settled.confirmed(self._queue[0][0] if self._queue else None)

    def flush(self, timeout: float = 30.0) -> bool:
        """Wait until the sink has taken and finished everything; False if it took too long."""
        deadline = time.monotonic() + timeout
        with self._changed:
            drained = self._changed.wait_for(
                lambda: not self._queue and not self._busy, timeout=timeout
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
        left = len(self._queue)
        if left:
            _log.error("%s: %d documents were not delivered in time", self._thread.name, left)
        return not left and not self._thread.is_alive()

    # -- the caller's side, under the lock ---------------------------------------------------

    def _fits(self, size: int) -> bool:
        return self._counts.queued_bytes + size <= self.max_bytes

    def _squeeze(
        self, name: str, doc: Mapping[str, Any], size: int
    ) -> tuple[Mapping[str, Any], int]:
        if self.policy == "block" and self._wait_for_room(size):
            return doc, size
        if self.policy == "latest":
            self._drop_oldest(size)
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

    def _drop_oldest(self, size: int) -> None:
        kept: deque[Entry] = deque()
        while self._queue:
            entry = self._queue.popleft()
            if entry[1] in ("event", "event_page") and not self._fits(size):
                self._bump(dropped=1, queued_bytes=-entry[3])
            else:
                kept.append(entry)
        self._queue = kept

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
                self._changed.wait_for(lambda: self._queue or self._closing, timeout=wait)
                if self._closing and (not self._queue or time.monotonic() > self._stop_by):
                    break
                entry = self._take()
                self._busy = True
            if entry is not None:
                self._deliver(*entry)
            wait = self._tick()
        self._finish()

    def _take(self) -> tuple[str, Mapping[str, Any]] | None:
        if not self._queue:
            return None
        number, name, doc, size = self._queue.popleft()
        self._settled.give(number)
        self._bump(queued_bytes=-size)
        if self._counts.queued_bytes <= self.max_bytes // 2:
            self._patient = True
        return name, doc

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
            return self.sink.tick()
        except Exception:  # noqa: BLE001 - a sink of any kind may fail in any way
            _log.exception("%s: fault between documents", self._thread.name)
            with self._changed:
                self._bump(errors=1)
            return 1.0

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


def weight(name: str, doc: Mapping[str, Any]) -> int:
    """Bytes that a document holds in memory, about."""
    if name not in ("event", "event_page"):
        return DOCUMENT_BYTES
    return DOCUMENT_BYTES + sum(array.nbytes for array in _arrays(doc["data"].values()))


def stripped(name: str, doc: Mapping[str, Any]) -> dict[str, Any]:
    """Copy an event without its arrays: they become None."""
    bare = None if name == "event" else [None] * len(doc.get("seq_num", ()))
    data = {key: bare if _has_array(value) else value for key, value in doc["data"].items()}
    return {**doc, "data": data}


def _has_array(value: Any) -> bool:
    return any(True for _ in _arrays([value]))


def _arrays(values: Any) -> Iterator[np.ndarray[Any, Any]]:
    for value in values:
        if isinstance(value, np.ndarray):
            yield value
        elif isinstance(value, list):
            yield from (item for item in value if isinstance(item, np.ndarray))
