"""The ways in which documents lie in files; each reader yields what is whole and says what is not.

=========  ==========================================================================
msgpack    lists ``[name, doc]`` one after the other: ours, suitcase-msgpack
lines      JSON per line, ``["start", {...}]`` (suitcase-jsonl) or
           ``{"name": "start", "doc": {...}}`` (bluesky's ``JSONLinesWriter``)
list       one JSON list of such entries
sequence   RFC 7464, each record after a ``0x1e`` byte (Tiled's export)
=========  ==========================================================================
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import msgpack

from ...core.frames import Document, NamedDocument
from ...errors import RecordingError
from ..wire.codec import DEFAULT_LIMITS, BadMessageError, decode_map, too_deep, unpack_options
from ..wire.message import DOCUMENT_NAMES
from .writer import ARRIVALS_SUFFIX

Report = Callable[[str], None]
"""Takes the sentence that says what could not be read."""

_SEPARATOR = b"\x1e"
_CHUNK = 1 << 20
_UNREADABLE = (
    BadMessageError,
    ValueError,
    TypeError,
    OverflowError,
    MemoryError,
    msgpack.UnpackException,
)


@dataclass(frozen=True, slots=True)
class Recorded:
    """One document of a recording.

    Attributes
    ----------
    name, doc : the document.
    arrival : when it arrived, s since the epoch; None if the recording does not tell.
    """

    name: str
    doc: Document
    arrival: float | None = None


def read_file(path: Path, report: Report) -> Iterator[Recorded]:
    """Read one file, whatever the dialect.

    Raises
    ------
    RecordingError
        The file cannot be opened or is no recording at all.
    """
    try:
        with path.open("rb") as file:
            head = file.read(64).lstrip()
            file.seek(0)
            yield from _dialect(path, head)(file, lambda what: report(f"{path.name}: {what}"))
    except OSError as error:
        raise RecordingError(f"cannot read {path}: {error}") from error


def _dialect(path: Path, head: bytes) -> Callable[[BinaryIO, Report], Iterator[Recorded]]:
    if head[:1] in (b"\x92", b"\xdc", b"\xdd"):
        return partial(_read_msgpack, path)
    if head[:1] == _SEPARATOR:
        return _read_sequence
    if head[:1] == b"{":
        return _read_lines
    if head[:1] == b"[":
        return partial(_read_list_or_lines, path)
    what = "is empty" if not head else "begins like none of msgpack, JSON lines, JSON, JSON-seq"
    raise RecordingError(f"{path} is no recording of documents: it {what}")


def _read_msgpack(path: Path, file: BinaryIO, report: Report) -> Iterator[Recorded]:
    refused: list[str] = []
    hook = partial(_decode_or_note, refused)
    unpacker = msgpack.Unpacker(file, max_buffer_size=0, **unpack_options(DEFAULT_LIMITS, hook))
    arrivals = _arrivals(path)
    for item in _whole_items(unpacker, path.stat().st_size, report):
        arrival = next(arrivals, None)
        named = None if refused else _named(item)
        if named is None:
            why = f"it holds {refused[0]}" if refused else "it is no [name, document]"
            report(f"skipped the entry before byte {unpacker.tell()}: {why}")
            refused.clear()
        else:
            yield Recorded(*named, arrival)


def _whole_items(unpacker: msgpack.Unpacker, size: int, report: Report) -> Iterator[Any]:
    whole = 0
    while True:
        try:
            item = unpacker.unpack()
        except msgpack.OutOfData:
            break
        except _UNREADABLE:
            report(f"not msgpack after {whole} bytes: reading ends there")
            return
        whole = unpacker.tell()
        yield item
    if whole < size:
        report(f"the last document is cut off: {size - whole} of {size} bytes not used")


def _decode_or_note(refused: list[str], entry: dict[Any, Any]) -> Any:
    try:
        return decode_map(entry)
    except BadMessageError as error:
        refused.append(str(error))
        return None


def _arrivals(path: Path) -> Iterator[float]:
    sidecar = path.with_name(path.name + ARRIVALS_SUFFIX)
    if not sidecar.is_file():
        return
    with sidecar.open("rb") as file:
        while len(raw := file.read(8)) == 8:
            yield struct.unpack("<d", raw)[0]


def _read_list_or_lines(path: Path, file: BinaryIO, report: Report) -> Iterator[Recorded]:
    first = _parse(file.readline())
    file.seek(0)
    if _named(first) is not None:
        yield from _read_lines(file, report)
        return
    entries = _parse(file.read())
    if not isinstance(entries, list):
        raise RecordingError(f"{path} is no recording of documents: its JSON is damaged or no list")
    for number, entry in enumerate(entries, start=1):
        yield from _checked(entry, f"entry {number}", report)


def _read_lines(file: BinaryIO, report: Report) -> Iterator[Recorded]:
    for number, line in enumerate(file, start=1):
        if line.strip():
            yield from _checked(_parse(line), f"line {number}", report)


def _read_sequence(file: BinaryIO, report: Report) -> Iterator[Recorded]:
    pending = b""
    number = 0
    while chunk := file.read(_CHUNK):
        *whole, pending = (pending + chunk).split(_SEPARATOR)
        for record in whole:
            if record.strip():
                number += 1
                yield from _checked(_parse(record), f"record {number}", report)
    if pending.strip():
        yield from _checked(_parse(pending), f"record {number + 1}", report)


def _parse(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _checked(entry: Any, where: str, report: Report) -> Iterator[Recorded]:
    named = _named(entry)
    if named is None:
        report(f"skipped {where}: it is damaged, cut off or no document")
    else:
        yield Recorded(*named)


def _named(entry: Any) -> NamedDocument | None:
    """Return the document of an entry in either shape, None if it is none."""
    if isinstance(entry, dict):
        entry = [entry.get("name"), entry.get("doc")]
    if not isinstance(entry, list) or len(entry) != 2:
        return None
    name, doc = entry
    known = isinstance(name, str) and name in DOCUMENT_NAMES
    if not known or not isinstance(doc, dict) or too_deep(doc, DEFAULT_LIMITS.max_depth):
        return None
    return name, doc
