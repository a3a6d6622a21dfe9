"""What lies in the folder of a journal."""

from __future__ import annotations

import fcntl
import json
import os
import struct
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ...core.frames import Document, NamedDocument
from ...errors import JournalError
from ..wire.codec import dumps, loads
from ..wire.losses import DROPPED
from ..wire.message import pack, unpack

_DIGITS = 20
_SUFFIX = ".journal"
_LOCK_TRIES = 5
_LOCK_WAIT_S = 0.05
_HEADER = struct.Struct("<4sIIxxxxd")
_MARK = b"OPJ1"
HEADER_BYTES = _HEADER.size
_DROPPED = b" " + DROPPED.encode() + b" "


class JournalFolder:
    """Paths and small files of a journal.

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
        """Positions at which segments begin, rising."""
        found = (p.stem for p in self.path.glob(f"*{_SUFFIX}"))
        return sorted(int(stem) for stem in found if stem.isdigit())

    def segment(self, begin: int) -> Path:
        """Path of the segment that begins at a position."""
        return self.path / f"{begin:0{_DIGITS}d}{_SUFFIX}"

    def tell(self, role: str, values: Mapping[str, Any]) -> None:
        """Replace what the keeper or the reader tells of itself."""
        path = self.path / f"{role}.json"
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps({"pid": os.getpid(), **values}))
        fresh.replace(path)

    def told(self, role: str) -> dict[str, Any]:
        """What the keeper or the reader told last; empty if nothing."""
        try:
            return json.loads((self.path / f"{role}.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return {}

    def lock(self, role: str) -> IO[str] | None:
        """Take the lock of a role; None if another process has it. Closing the file frees it."""
        for _ in range(_LOCK_TRIES):  # somebody may just be looking whether it is taken
            file = (self.path / f"{role}.lock").open("a")
            if _flock(file, fcntl.LOCK_EX):
                return file
            file.close()
            time.sleep(_LOCK_WAIT_S)
        return None

    def locked(self, role: str) -> bool:
        """Whether a living process has the lock of a role."""
        with (self.path / f"{role}.lock").open("a") as file:
            return not _flock(file, fcntl.LOCK_SH)


def _flock(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


# How a document lies in a segment.
#
# A record is a header of 24 bytes and the message of the document as it travels on the network
# (`io.wire.message`): mark, length of the message, CRC-32 of time and message, time of arrival.


@dataclass(frozen=True, slots=True)
class Header:
    """What a record says of its message.

    Attributes
    ----------
    length : bytes of the message.
    crc32 : of the time of arrival and the message.
    received_at : wall clock at receipt, s since the epoch.
    """

    length: int
    crc32: int
    received_at: float


def to_message(name: str, doc: Document) -> bytes:
    """Make the message of a document, or of what is told of documents that were given up.

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


def pack_header(message: bytes, received_at: float) -> bytes:
    """Make the header of a message."""
    return _HEADER.pack(_MARK, len(message), _checksum(message, received_at), received_at)


def unpack_header(data: bytes) -> Header:
    """Read a header of `HEADER_BYTES` bytes.

    Raises
    ------
    JournalError
        It is none.
    """
    if len(data) < HEADER_BYTES:
        raise JournalError(f"a record of the journal ends after {len(data)} bytes of its header")
    mark, length, crc32, received_at = _HEADER.unpack(data)
    if mark != _MARK:
        raise JournalError("a record of the journal does not begin where it should")
    return Header(length, crc32, received_at)


def check(header: Header, message: bytes) -> bool:
    """Whether a message is the one that its header was made for."""
    return _checksum(message, header.received_at) == header.crc32


def _checksum(message: bytes, received_at: float) -> int:
    return zlib.crc32(message, zlib.crc32(struct.pack("<d", received_at)))
