"""How a document lies in a segment.

A record is a header of 24 bytes and the message of the document as it travels on the network
(`streamer.wire`): mark, length of the message, CRC-32 of time and message, time of arrival.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from ..errors import JournalError

_HEADER = struct.Struct("<4sIIxxxxd")
_MARK = b"OPJ1"
HEADER_BYTES = _HEADER.size


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
