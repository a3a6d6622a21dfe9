"""A document as a fault sees it: its run, its stream and its number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from ..assemble.layout import stream_state
from ..assemble.settings import AssembleSettings
from ..assemble.state import RunState, StreamState
from ..assemble.values import MalformedDocument, integer, optional_text, section
from ..frames import Document
from .pages import single_row

Streams = Mapping[str, StreamState]
EVENTS = frozenset({"event", "event_page"})
_OF_STREAMS = EVENTS | {"descriptor", "stream_datum"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a document is about.

    Attributes
    ----------
    run : uid of its run, "" if nobody knows.
    stream : its stream, None if it belongs to none or its descriptor was never seen.
    seq_num : its event number, None if it has none.
    uid : its own.
    """

    name: str
    run: str
    stream: StreamState | None
    seq_num: int | None
    uid: str

    @property
    def of_stream(self) -> bool:
        """Whether documents of this name belong to a stream."""
        return self.name in _OF_STREAMS

    def draws(self, seed: int, index: int, purpose: int) -> np.random.Generator:
        """Random numbers of one fault for this document, whatever came before it.

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
    """Tell what a document is about; a page is of one row."""
    stream = streams.get(optional_text(doc, "uid" if name == "descriptor" else "descriptor"))
    run = optional_text(doc, "uid" if name == "start" else "run_start")
    row = single_row(doc) if name == "event_page" else doc
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
