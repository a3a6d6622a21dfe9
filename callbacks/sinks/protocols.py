"""The promise of a sink: documents are taken, counted, and confirmed when they are safe.

A sink is anything called with ``(name, doc)``. Wrapped in a `BufferedSink` it runs in a thread of
its own behind a queue that is bounded in bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any, Protocol, runtime_checkable

import numpy as np

SINKS: dict[str, str] = {
    "tiled": "operando.callbacks.tiled.sink:TiledSink",
    "recording": "operando.streamer.io.recording.writer:RecordingWriter",
    "zmq": "operando.callbacks.publisher:FramePublisher",
}
"""Sinks by name; a dotted path ``package.module:Object`` needs no entry here."""
DOCUMENT_BYTES = 2048
"""Bytes that a document is taken to hold beside its arrays: by eye, of result events."""


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


@runtime_checkable
class CongestedSink(TickingSink, Protocol):
    """A sink that says when it wants no more documents until a later tick."""

    @property
    def congested(self) -> bool:
        """Tell whether documents had better wait where they are."""
        ...


@runtime_checkable
class ConfirmingSink(Protocol):
    """A sink that confirms which of its documents are safe, not only taken.

    Who keeps a journal may forget what is confirmed, and must be able to make the rest again. A
    document is *settled* when the sink has done with it all that it ever will: it is safe, or the
    sink counted it as given up (see `SinkCounts`).

    Both counts only grow, may be asked from any thread, and cost nothing.
    """

    def __call__(self, name: str, doc: Mapping[str, Any], /) -> object:
        """Take one document."""
        ...

    @property
    def received(self) -> int:
        """Return the number of documents given to the sink so far."""
        ...

    @property
    def confirmed(self) -> int:
        """Return the largest n such that the first n documents given to it are settled."""
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
    """Counts of the documents of a `BufferedSink`.

    Attributes
    ----------
    received : documents given to it.
    delivered : documents that the sink took.
    stripped : events that were passed on without their arrays, for want of room.
    dropped : events that were given up, for want of room.
    spooled : documents that went by way of the disk.
    lost : documents that could not be read back from the disk.
    errors : documents at which the sink raised.
    queued : documents waiting, in memory and on disk.
    queued_bytes : the size of those in memory.
    peak_bytes : the largest size of the queue in memory so far.
    blocked : s that callers were made to wait, in all.
    """

    received: int = 0
    delivered: int = 0
    stripped: int = 0
    dropped: int = 0
    spooled: int = 0
    lost: int = 0
    errors: int = 0
    queued: int = 0
    queued_bytes: int = 0
    peak_bytes: int = 0
    blocked: float = 0.0


class AckCursor:
    """Numbers documents as they come, and finds the first that is not settled.

    Documents pass in order, but some may be given up on the way. Not locked: the owner locks.

    Attributes
    ----------
    received : documents numbered so far.
    """

    def __init__(self) -> None:
        self.received = 0
        self._given: deque[int] = deque()
        self._passed = 0
        self._refused: int | None = None

    def number(self) -> int:
        """Number the next document, from 1."""
        self.received += 1
        return self.received

    def delivered(self, number: int) -> None:
        """Note that a document goes to the sink behind; numbers must grow."""
        self._given.append(number)

    def acknowledge(self, count: int) -> None:
        """Note that the first `count` of the documents given to the sink are settled."""
        while self._passed < count and self._given:
            self._given.popleft()
            self._passed += 1

    def refuse(self, number: int) -> None:
        """Note a document that can never be settled: nothing from it on is confirmed."""
        self._refused = number if self._refused is None else self._refused

    def confirmed(self, waiting: int | None) -> int:
        """Return how many documents are settled from the first on, without a gap.

        Parameters
        ----------
        waiting : number of the oldest document that was not yet given to the sink; None if there
            is none.
        """
        unsettled = [self.received + 1]
        if self._given:
            unsettled.append(self._given[0])
        if waiting is not None:
            unsettled.append(waiting)
        if self._refused is not None:
            unsettled.append(self._refused)
        return min(unsettled) - 1


def weight(name: str, doc: Mapping[str, Any]) -> int:
    """Estimate the bytes that a document holds in memory."""
    if name not in ("event", "event_page"):
        return DOCUMENT_BYTES
    return DOCUMENT_BYTES + sum(array.nbytes for array in _arrays(doc["data"].values()))


def stripped(name: str, doc: Mapping[str, Any]) -> dict[str, Any]:
    """Copy an event without its arrays: they become None."""
    bare = None if name == "event" else [None] * len(doc.get("seq_num", ()))
    data = {k: bare if any(True for _ in _arrays([v])) else v for k, v in doc["data"].items()}
    return {**doc, "data": data}


def _arrays(values: Any) -> Iterator[np.ndarray[Any, Any]]:
    for value in values:
        if isinstance(value, np.ndarray):
            yield value
        elif isinstance(value, list):
            yield from (item for item in value if isinstance(item, np.ndarray))
