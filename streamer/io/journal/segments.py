"""Segments: files of records, as the journal and the spool of results write and read them.

A record is a header of 24 bytes and a message: mark, length of the message, CRC-32 of time and
message, time of arrival. In the journal the message is that of the document as it travels on the
network (`io.wire.message`).
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
import time
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ...core.frames import Document, NamedDocument
from ...errors import JournalError
from ..wire.codec import dumps, loads
from ..wire.message import pack, unpack
from ..wire.queue import DROPPED

_DIGITS = 20
_SUFFIX = ".journal"
_LOCK_TRIES = 5
_LOCK_WAIT_S = 0.05
_HEADER = struct.Struct("<4sIIxxxxd")
_MARK = b"OPJ1"
HEADER_BYTES = _HEADER.size
_DROPPED = b" " + DROPPED.encode() + b" "


class JournalFolder:
    """Paths, status files and locks of a journal.

    Parameters
    ----------
    path : made if absent.

    Raises
    ------
    JournalError
        The folder cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise JournalError(
                f"cannot make the folder {path} of the journal: {error}; name another"
            ) from error

    def segments(self) -> list[int]:
        """Return the positions at which segments begin, rising."""
        found = (p.stem for p in self.path.glob(f"*{_SUFFIX}"))
        return sorted(int(stem) for stem in found if stem.isdigit())

    def segment(self, begin: int) -> Path:
        """Return the path of the segment that begins at a position."""
        return self.path / f"{begin:0{_DIGITS}d}{_SUFFIX}"

    def write_status(self, role: str, values: Mapping[str, Any]) -> None:
        """Replace the status of the keeper or the reader."""
        path = self.path / f"{role}.json"
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps({"pid": os.getpid(), **values}))
        fresh.replace(path)

    def read_status(self, role: str) -> dict[str, Any]:
        """Return the newest status of the keeper or the reader; empty if there is none."""
        try:
            return json.loads((self.path / f"{role}.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return {}

    def lock(self, role: str) -> IO[bytes] | None:
        """Take the lock of a role; None if another process has it. Closing the file frees it."""
        for _ in range(_LOCK_TRIES):  # somebody may just be looking whether it is taken
            file = (self.path / f"{role}.lock").open("ab")
            if flock(file):
                return file
            file.close()
            time.sleep(_LOCK_WAIT_S)
        return None

    def locked(self, role: str) -> bool:
        """Tell whether a living process has the lock of a role."""
        with (self.path / f"{role}.lock").open("ab") as file:
            return not flock(file, fcntl.LOCK_SH)


def flock(file: IO[bytes], kind: int = fcntl.LOCK_EX) -> bool:
    """Lock a file for as long as it is open; return False if another process has it."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def to_message(name: str, doc: Document) -> bytes:
    """Make the message of a document, or of the account of documents that were given up.

    Raises
    ------
    BadMessageError
        The document has no safe encoding.
    """
    return _DROPPED + dumps(doc) if name == DROPPED else pack(name, doc)


def from_message(message: bytes) -> NamedDocument | None:
    """Read a message that `to_message` made.

    Raises
    ------
    BadMessageError
        It is none.
    """
    if message.startswith(_DROPPED):
        return DROPPED, loads(memoryview(message)[len(_DROPPED) :])
    return unpack(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A record as it was read.

    Attributes
    ----------
    message : its content.
    received_at : wall clock at receipt, s since the epoch.
    intact : whether its checksum is right.
    """

    message: bytes
    received_at: float
    intact: bool

    @property
    def size(self) -> int:
        """Return the bytes that it takes in the file."""
        return HEADER_BYTES + len(self.message)


def read_record(file: IO[bytes]) -> Record | None:
    """Read the record at the place of a file; None if it is not wholly there.

    Raises
    ------
    JournalError
        No record begins there.
    """
    head = file.read(HEADER_BYTES)
    if len(head) < HEADER_BYTES:
        return None
    mark, length, crc32, received_at = _HEADER.unpack(head)
    if mark != _MARK:
        raise JournalError("a record does not begin where it should")
    message = file.read(length)
    if len(message) < length:
        return None
    intact = _checksum(message, received_at) == crc32
    return Record(message=message, received_at=received_at, intact=intact)


def whole_bytes(path: Path) -> int:
    """Return how many bytes of a segment are intact records from its beginning."""
    begin = 0
    with path.open("rb") as file:
        while True:
            try:
                record = read_record(file)
            except JournalError:
                return begin
            if record is None or not record.intact:
                return begin
            begin += record.size


class SegmentWriter:
    """Appends records to a file, each wholly or not at all.

    Parameters
    ----------
    path : of the file; it is gone on with if it is there.

    Attributes
    ----------
    size : bytes in the file.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        self.size = self._file.seek(0, os.SEEK_END)

    def append(self, message: bytes, received_at: float = 0.0) -> int:
        """Append a record; return the bytes that it takes.

        Raises
        ------
        OSError
            The disk does not take it; nothing of it is left in the file.
        """
        header = _HEADER.pack(_MARK, len(message), _checksum(message, received_at), received_at)
        try:
            for part in (header, message):
                rest = memoryview(part)
                while rest:
                    rest = rest[self._file.write(rest) :]
        except OSError:
            with suppress(OSError):  # the first error is the one to tell
                os.ftruncate(self._file.fileno(), self.size)
            raise
        size = HEADER_BYTES + len(message)
        self.size += size
        return size

    def sync(self) -> None:
        """Force the file to the disk."""
        os.fdatasync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _checksum(message: bytes, received_at: float) -> int:
    return zlib.crc32(message, zlib.crc32(struct.pack("<d", received_at)))
