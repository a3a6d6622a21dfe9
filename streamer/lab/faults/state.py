"""State of fault injection, and documents as a fault sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from zlib import crc32

import numpy as np

from ...core.assemble.descriptors import stream_state
from ...core.assemble.settings import AssembleSettings
from ...core.assemble.state import RunState, StreamState
from ...core.assemble.values import MalformedDocument, integer, optional_text, section, sequence
from ...core.frames import Document, NamedDocument
from .script import FaultScript

NEVER = float("inf")
Streams = Mapping[str, StreamState]
EVENTS = frozenset({"event", "event_page"})
OF_STREAMS = EVENTS | {"descriptor", "stream_datum"}
_COLUMNS = ("uid", "time", "seq_num")
_TABLES = ("data", "timestamps", "filled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Run, stream and number of a document.

    Attributes
    ----------
    run : uid of its run, "" if unknown.
    stream : its stream, None if it belongs to none or its descriptor was never seen.
    seq_num : its event number, None if it has none.
    uid : its own.
    """

    name: str
    run: str
    stream: StreamState | None
    seq_num: int | None
    uid: str

    def draws(self, seed: int, index: int, purpose: int) -> np.random.Generator:
        """Make the random numbers of one fault for this document, whatever came before it.

        Parameters
        ----------
        seed : of the script. index : place of the fault in it. purpose : what they are for.
        """
        stream = "" if self.stream is None else self.stream.name
        address = "\x1f".join((self.run, stream, self.name, str(self.seq_num), self.uid))
        return np.random.default_rng([seed, index, purpose, crc32(address.encode())])


def learn(streams: Streams, name: str, doc: Document) -> Streams:
    """Remember the stream of a descriptor, forget those of a run that stops."""
    if name == "stop":
        run = optional_text(doc, "run_start")
        return {uid: stream for uid, stream in streams.items() if stream.run != run}
    if name != "descriptor":
        return streams
    run = RunState(uid=optional_text(doc, "run_start"), start={}, time=0.0)
    try:
        stream, _ = stream_state(doc, run, AssembleSettings())
    except MalformedDocument:  # nothing that follows can refer to it
        return streams
    return {**streams, stream.uid: stream}


def subject_of(streams: Streams, name: str, doc: Document) -> Subject:
    """Read the run, stream and number of a document; a page is of one row."""
    stream = streams.get(optional_text(doc, "uid" if name == "descriptor" else "descriptor"))
    run = optional_text(doc, "uid" if name == "start" else "run_start")
    row = doc
    if name == "event_page":
        row = {key: column[0] for key in _COLUMNS if len(column := sequence(doc.get(key)))}
    number = row.get("seq_num")
    if name == "stream_datum":
        number = section(doc, "seq_nums").get("start")
    uid = row.get("uid")
    return Subject(
        name=name,
        run=run or (stream.run if stream is not None else ""),
        stream=stream,
        seq_num=integer(number),
        uid=uid if isinstance(uid, str) else "",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One document as it arrives.

    Attributes
    ----------
    name, doc : the document; of a damaged message the one that was meant.
    at : time of arrival, s, on the clock of the recording.
    message : the damaged message as it is on the wire, empty for a document that is whole.
    """

    name: str
    doc: Document
    at: float
    message: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DelayedDocument:
    """A document that is on its way.

    Attributes
    ----------
    run : uid of its run; stream : uid of its descriptor; both "" if it has none.
    due : time of arrival, s; `NEVER` if that depends on the documents after it alone.
    left : events of its stream that overtake it yet.
    """

    sent: Sent
    run: str
    stream: str
    due: float = NEVER
    left: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultState:
    """State between documents.

    Attributes
    ----------
    streams : by the uid of their descriptor.
    held : documents on their way, in the order in which they were sent.
    clear : nothing arrives before, s: something holds up the connection.
    joined : runs (place of the fault in the script, uid) of which a late joiner gets documents.
    injected, impossible : counts by kind of faults that struck, and that found nothing to strike.
    """

    streams: Streams = field(default_factory=dict)
    held: tuple[DelayedDocument, ...] = ()
    clear: float = float("-inf")
    joined: frozenset[tuple[int, str]] = frozenset()
    injected: Mapping[str, int] = field(default_factory=dict)
    impossible: Mapping[str, int] = field(default_factory=dict)


def counted(
    state: FaultState, book: Literal["injected", "impossible"], kind: str, n: int = 1
) -> FaultState:
    """Add to `injected` or `impossible`."""
    entries: Mapping[str, int] = getattr(state, book)
    return replace(state, **{book: {**entries, kind: entries.get(kind, 0) + n}})


def summary_lines(state: FaultState, script: FaultScript) -> list[str]:
    """List what was injected, and what of the script found nothing to strike.

    A kind of the script that never struck counts 0: its streams or event numbers do not occur.
    """
    kinds = dict.fromkeys(fault.kind for fault in script.faults)
    counts = {kind: state.injected.get(kind, 0) for kind in kinds}
    books = {f"faults injected with seed {script.seed}": counts}
    if state.impossible:
        what = "not injected, as the documents hold no such image, energy or message"
        books[what] = dict(state.impossible)
    return [
        f"{what}: {', '.join(f'{n} {kind}' for kind, n in book.items())}"
        for what, book in books.items()
    ]


def split(name: str, doc: Document) -> list[NamedDocument]:
    """Make an event_page pages of one row each; everything else is left as it is."""
    rows = len(sequence(doc.get("seq_num")))
    if name != "event_page" or rows < 2:
        return [(name, doc)]
    return [(name, _row(doc, index)) for index in range(rows)]


def data_of(name: str, doc: Document) -> dict[str, Any]:
    """Return the data of an event, or of a page of one row."""
    data = section(doc, "data")
    if name != "event_page":
        return data
    return {key: column[0] for key, column in data.items() if len(sequence(column))}


def with_value(name: str, doc: Document, key: str, value: Any) -> Document:
    """Return a copy of an event, or a page of one row, with another value in its data."""
    column = [value] if name == "event_page" else value
    return {**doc, "data": {**section(doc, "data"), key: column}}


def with_uid(name: str, doc: Document, uid: str) -> Document:
    """Return a copy of a document under another uid."""
    return {**doc, "uid": [uid] if name == "event_page" else uid}


def _row(page: Document, index: int) -> Document:
    row = dict(page)
    for key in _COLUMNS:
        row[key] = list(sequence(page.get(key))[index : index + 1])
    for key in _TABLES:
        columns = section(page, key)
        row[key] = {k: list(sequence(c)[index : index + 1]) for k, c in columns.items()}
    return row
