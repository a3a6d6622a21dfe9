"""Notices what is missing in a stream of documents, and puts it in."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ...core.frames import Document, NamedDocument
from ...errors import OperandoError
from ..service import Processor

logger = logging.getLogger(__name__)
_COST_SHARE = 0.05  # of the time may be spent on looking for gaps; by eye
_EVENTS = ("event", "event_page")
_POINTERS = ("resource", "datum", "datum_page", "stream_resource")
_UNKNOWN = -1
_MOST_IMAGES = 100_000  # of one stream_datum; a hostile one claims more
Known = tuple[str, Sequence[tuple[int, int]] | None]
"""Run of a descriptor, and the numbers of its events that have come, as half-open ranges."""


class Provider(Protocol):
    """Somewhere documents are kept."""

    @property
    def name(self) -> str:
        """Return what it is, for the log; without secrets."""
        ...

    def run_of(self, key: str, value: str) -> Iterable[NamedDocument] | None:
        """Return the documents of the run with a descriptor or start of this uid; None if unknown.

        Parameters
        ----------
        key : ``descriptor`` or ``start``.
        value : the uid.

        Raises
        ------
        OperandoError
            It cannot be asked.
        """
        ...


@dataclass(slots=True)
class _Stream:
    """Events of one descriptor that have come.

    Attributes
    ----------
    seen : numbers of its events.
    complete_to : all events up to this number have come, or were given up; `_UNKNOWN` of a stream
        from before this process of which nobody knows what has come.
    """

    run: str
    seen: set[int] = field(default_factory=set)
    complete_to: int = 0


class Backfill:
    """Completes a stream of documents as far as somebody has what is missing.

    Parameters
    ----------
    providers : asked in order. To ask may take long: a gap is looked up at most so often that it
        takes a twentieth of the time, a run that is joined late always.
    known : descriptors that are known already: of each its run, and the numbers of the events that
        have come, as half-open ranges; None if that is not known, whereupon nothing is asked for
        before the next one.
    clock : monotonic clock, s.

    Attributes
    ----------
    filled : documents that were put in. unknown : descriptors that nobody knew.
    """

    def __init__(
        self,
        providers: Sequence[Provider],
        known: Mapping[str, Known] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.filled = 0
        self.unknown: set[str] = set()
        self._providers = tuple(providers)
        self._clock = clock
        self._next_look = clock()
        self._runs: set[str] = {run for run, _ in (known or {}).values()}
        self._streams = {uid: _stream(*came) for uid, came in (known or {}).items()}

    def fill(self, documents: Iterable[NamedDocument]) -> list[NamedDocument]:
        """Return the documents with what was missing between them; repeats are left out."""
        out: list[NamedDocument] = []
        for name, doc in documents:
            self._take(name, doc, out)
        return out

    def _take(self, name: str, doc: Document, out: list[NamedDocument]) -> None:
        uid = doc.get("uid")
        if name == "start" and isinstance(uid, str):
            self._runs.add(uid)
        elif name == "descriptor" and isinstance(uid, str):
            run = str(doc.get("run_start", ""))
            if run not in self._runs:
                self._join(("start", run), ("descriptor", uid, 0), out)
            if uid in self._streams and self._streams[uid].complete_to != _UNKNOWN:
                return  # came with what was put in, or before
            self._runs.add(run)
            self._streams.setdefault(uid, _Stream(run))
        elif name in _EVENTS and not self._events(name, doc, out):
            return
        elif name == "stop":
            self._forget(str(doc.get("run_start", "")))
        out.append((name, doc))

    def _events(self, name: str, doc: Document, out: list[NamedDocument]) -> bool:
        """Fill in what lies before an event; return whether it is not there already."""
        uid, numbers = str(doc.get("descriptor", "")), _numbers(name, doc)
        if not numbers:
            return True  # malformed: the assembler says so
        if uid not in self._streams and uid not in self.unknown:
            self._join(("descriptor", uid), ("event", uid, numbers[0]), out)
        stream = self._streams.get(uid)
        if stream is None:
            return True
        if set(numbers) <= stream.seen:
            return False
        if stream.complete_to == _UNKNOWN:
            stream.complete_to = numbers[0] - 1
        if numbers[0] > stream.complete_to + 1 and self._clock() >= self._next_look:
            self._mend(uid, numbers[0], out)
        _note(stream, numbers)
        return True

    def _join(
        self, key: tuple[str, str], until: tuple[str, str, int], out: list[NamedDocument]
    ) -> None:
        """Put in all of a run before a document."""
        documents = self._ask(*key)
        if documents is None:
            if key[0] == "descriptor":
                self.unknown.add(key[1])
            return
        before = self.filled
        for name, doc in documents:
            if _is(name, doc, until) or name == "stop":
                break
            self._put(name, doc, out)
        logger.warning("joined a run late: %d documents of it were fetched", self.filled - before)

    def _mend(self, uid: str, number: int, out: list[NamedDocument]) -> None:
        """Put in what lies before an event and has not come, in the order in which it was sent.

        What other streams of the run lost in the same gap comes with it: whether a flat was known
        when a frame came makes a difference.
        """
        before = self.filled
        for name, doc in self._ask("descriptor", uid) or ():
            if _is(name, doc, ("event", uid, number)):
                break
            if name in _POINTERS or self._missed(name, doc):
                self._put(name, doc, out)
        if self.filled > before:
            logger.warning(
                "events before number %d were missing: %d documents were fetched",
                number,
                self.filled - before,
            )

    def _missed(self, name: str, doc: Document) -> bool:
        """Return whether events of a document, or of its images, have not come."""
        stream = self._streams.get(str(doc.get("descriptor", "")))
        numbers = _numbers(name, doc)
        if stream is None or stream.complete_to == _UNKNOWN or not numbers:
            return False
        return not set(numbers) <= stream.seen and numbers[-1] > stream.complete_to

    def _put(self, name: str, doc: Document, out: list[NamedDocument]) -> None:
        uid = str(doc.get("uid", ""))
        if name == "start":
            if uid in self._runs:
                return
            self._runs.add(uid)
        elif name == "descriptor":
            if uid in self._streams:
                return
            self._streams[uid] = _Stream(str(doc.get("run_start", "")))
        elif name in _EVENTS:
            stream = self._streams.get(str(doc.get("descriptor", "")))
            numbers = _numbers(name, doc)
            if stream is None or set(numbers) <= stream.seen:
                return
            _note(stream, numbers)
        self.filled += 1
        out.append((name, doc))

    def _ask(self, key: str, value: str) -> list[NamedDocument] | None:
        began = self._clock()
        found = None
        for provider in self._providers:
            try:
                documents = provider.run_of(key, value)
                found = None if documents is None else list(documents)
            except OperandoError as error:
                logger.warning("%s cannot be asked for what was missed: %s", provider.name, error)
                continue
            if found is not None:
                break
        now = self._clock()
        self._next_look = now + (now - began) / _COST_SHARE
        return found

    def _forget(self, run: str) -> None:
        self._runs.discard(run)
        self._streams = {uid: s for uid, s in self._streams.items() if s.run != run}


def _stream(run: str, came: Sequence[tuple[int, int]] | None) -> _Stream:
    """Return a stream of which events have come already."""
    if came is None:
        return _Stream(run, complete_to=_UNKNOWN)
    stream = _Stream(run)
    for first, end in came:
        _note(stream, range(first, end))
    return stream


def _note(stream: _Stream, numbers: Iterable[int]) -> None:
    stream.seen.update(numbers)
    while stream.complete_to + 1 in stream.seen:
        stream.complete_to += 1


def _numbers(name: str, doc: Mapping[str, Any]) -> list[int]:
    """Return the numbers of the events in a document, [] if there are no sensible ones."""
    if name == "stream_datum":
        numbers = _range(doc.get("seq_nums"))
    else:
        numbers = [doc.get("seq_num")] if name == "event" else doc.get("seq_num")
    if not isinstance(numbers, Sequence) or isinstance(numbers, str):
        return []
    return [n for n in numbers if type(n) is int and n > 0]


def _range(ends: object) -> Sequence[int]:
    """Return the numbers of a ``seq_nums``; none of one that is no range, or is huge."""
    if not isinstance(ends, Mapping):
        return ()
    start, stop = ends.get("start"), ends.get("stop")
    if type(start) is not int or type(stop) is not int or stop - start > _MOST_IMAGES:
        return ()
    return range(start, stop)


def _is(name: str, doc: Document, until: tuple[str, str, int]) -> bool:
    kind, uid, number = until
    if kind == "descriptor":
        return name == "descriptor" and doc.get("uid") == uid
    numbers = _numbers(name, doc) if name in _EVENTS else []
    return bool(numbers) and doc.get("descriptor") == uid and numbers[-1] >= number


class Backfilled:
    """Stands before a processor in the service.

    Parameters
    ----------
    processor : gets the completed stream.
    backfill : completes it.
    """

    def __init__(self, processor: Processor, backfill: Backfill) -> None:
        self._processor = processor
        self._backfill = backfill

    def process(self, documents: Sequence[NamedDocument]) -> None:
        """Process documents, and what was missing between them."""
        self._processor.process(self._backfill.fill(documents))

    def close(self) -> None:
        """End what is open."""
        self._processor.close()
