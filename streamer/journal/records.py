"""How a document lies in a segment.

A record is a header of 24 bytes and the message of the document as it travels on the network
(`streamer.wire`): mark, length of the message, CRC-32 of time and message, time of arrival.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from ..codec import dumps, loads
from ..errors import JournalError
from ..frames import Document, NamedDocument
from ..sources.losses import DROPPED
from ..wire import pack, unpack

_HEADER = struct.Struct("<4sIIxxxxd")
_MARK = b"OPJ1"
HEADER_BYTES = _HEADER.size
_DROPPED = b" " + DROPPED.encode() + b" "


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
