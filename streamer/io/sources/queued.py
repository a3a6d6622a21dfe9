"""Base of the sources: a thread that fills a byte-bounded queue."""

from __future__ import annotations

import math
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from typing import Self

from ...core.frames import Document
from ...errors import OperandoError
from ..wire.message import ESSENTIAL, Received
from ..wire.queue import ByteQueue, Losses, WhenFull
from . import SourceCounters

_BATCH = 256
_POLL_S = 0.25
_JOIN_S = 10.0  # longest wait for a thread that ends; by eye


class QueuedSource(ABC):
    """A source whose thread receives, decodes and enqueues, and does nothing else.

    An error that ends the thread is raised by `drain` and `documents` once everything that came
    before it was handed out.

    Attributes
    ----------
    ready : set while nothing that is published can be missed.
    """

    def __init__(self, max_bytes: int, when_full: WhenFull) -> None:
        self.ready = threading.Event()
        self._when_full: WhenFull = when_full
        self._queue: ByteQueue[Received] = ByteQueue(max_bytes, when_full)
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._failure: OperandoError | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._bad_reasons: Counter[str] = Counter()
        self._losses = Losses()

    @abstractmethod
    def _receive(self) -> None:
        """Fill the queue until there is no more or `_stopping` is set."""

    def open(self) -> None:
        """Start to receive; the first call counts."""
        if self._thread is None and not self._stopping.is_set():
            name = f"operando-{type(self).__name__}"
            self._thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop receiving; what is queued can still be drained."""
        self._stopping.set()
        if self._when_full == "block":  # the thread may wait for room
            self._queue.close()
        if self._thread is not None:
            self._thread.join(_JOIN_S)
        self._queue.close()

    def __enter__(self) -> Self:
        """Start to receive."""
        self.open()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close."""
        self.close()

    @property
    def exhausted(self) -> bool:
        """Return whether nothing is queued and nothing more can come."""
        return self._queue.exhausted and self._failure is None and not self._losses

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Wait up to `timeout` s (None: for ever) until the source is ready.

        Returns False at once if it can never be: `drain` then raises the reason.
        """
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while not self.ready.is_set() and not self._ended.is_set():
            left = deadline - time.monotonic()
            if left <= 0:
                break
            self.ready.wait(min(left, _POLL_S))
        return self.ready.is_set()

    def documents(self) -> Iterator[Received]:
        """Yield documents as they come until the source is exhausted."""
        self.open()
        while not self.exhausted:
            yield from self.drain(_BATCH, _POLL_S)

    def drain(self, max_items: int = 1024, timeout: float = 0.0) -> list[Received]:
        """Take what is queued; wait up to `timeout` s if nothing is."""
        taken = self._queue.take(max_items, timeout)
        if not taken and self._queue.exhausted and self._losses:
            return self._last_losses()
        if not taken and self._queue.exhausted and self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        return taken

    def _last_losses(self) -> list[Received]:
        """Return what was given up after the last document that was kept."""
        if self._thread is not None:
            self._thread.join(_JOIN_S)
        lost = self._losses.documents()
        self._losses.clear()
        return [Received(name, doc, time.time(), 0) for name, doc in lost]

    def counters(self) -> SourceCounters:
        """Return what was seen so far."""
        queue = self._queue.counters()
        with self._lock:
            return SourceCounters(
                **self._counts,
                bad_reasons=dict(self._bad_reasons),
                dropped=queue.dropped,
                queued=queue.queued,
                queued_bytes=queue.queued_bytes,
            )

    def _count(self, **increments: int) -> None:
        with self._lock:
            self._counts.update(increments)

    def _count_bad(self, reason: str, nbytes: int) -> bool:
        """Count a refused message; return whether it is the first for this reason."""
        self._count(received=1, bad=1, bytes=nbytes)
        with self._lock:
            self._bad_reasons[reason] += 1
            return self._bad_reasons[reason] == 1

    def _admit(self, name: str, doc: Document, received_at: float, nbytes: int) -> bool:
        """Count a decoded document and enqueue it; return whether there was room."""
        self._count(received=1, decoded=1, bytes=nbytes)
        item = Received(name, doc, received_at, nbytes, self._losses.documents())
        if self._queue.put(item, nbytes, essential=name in ESSENTIAL):
            self._losses.clear()
            return True
        self._losses.add(name, doc)
        return False

    def _run(self) -> None:
        try:
            self._receive()
        except OperandoError as error:
            self._failure = error
        except Exception as error:  # noqa: BLE001 - handed to the consumer, who must not starve
            self._failure = OperandoError(f"the source broke: {error!r}")
            self._failure.__cause__ = error
        finally:
            self._queue.close()
            self._ended.set()
