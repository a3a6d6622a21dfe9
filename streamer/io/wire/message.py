"""The message of one document on the network, as bluesky's 0MQ ``Publisher`` frames it.

One message is ``prefix + b" " + name + b" " + payload``, the payload being msgpack (see `codec`).
A beamline publishes with stock parts::

    Publisher(address, serializer=partial(msgpack.packb, default=msgpack_numpy.encode))
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...core.frames import Document, NamedDocument
from ...errors import ConfigError
from .codec import DEFAULT_LIMITS, BadMessageError, Limits, dumps, loads

DOCUMENT_NAMES = frozenset(
    {
        "start",
        "stop",
        "descriptor",
        "event",
        "event_page",
        "bulk_events",
        "resource",
        "datum",
        "datum_page",
        "bulk_datum",
        "stream_resource",
        "stream_datum",
    }
)
"""The names that event-model knows."""
_HEADER_BYTES = 320  # a prefix of 255, two spaces and the longest name
ESSENTIAL = frozenset({"start", "descriptor", "stop", "resource", "stream_resource"})
"""Documents without which the others cannot be read."""


def pack(name: str, doc: Mapping[str, Any], prefix: bytes = b"") -> bytes:
    """Encode a document as one message.

    Arrays are copied, so the caller may re-use their buffers at once.

    Parameters
    ----------
    name : name of the document, one of `DOCUMENT_NAMES`.
    doc : the document.
    prefix : tells several publishers on one proxy apart; no spaces.

    Raises
    ------
    BadMessageError
        The name is unknown or the document holds something that has no safe encoding.
    ConfigError
        The prefix cannot be used.
    """
    if name not in DOCUMENT_NAMES:
        raise BadMessageError("unknown_name", f"{name!r} is not the name of a Bluesky document")
    return b" ".join((check_prefix(prefix), name.encode(), dumps(doc)))


def unpack(
    message: bytes | memoryview, prefix: bytes = b"", limits: Limits = DEFAULT_LIMITS
) -> NamedDocument | None:
    """Decode one message.

    Parameters
    ----------
    message : the bytes as received.
    prefix : the publisher to listen to; empty listens to all, as bluesky's dispatcher does.
    limits : what to accept.

    Returns
    -------
    ``(name, doc)``, or None if the message bears another prefix.

    Raises
    ------
    BadMessageError
        Anything malformed; the text holds the length and the reason, never the content.
    """
    length = len(message)
    head = bytes(message[:_HEADER_BYTES])
    first = head.find(b" ")
    second = head.find(b" ", first + 1) if first >= 0 else -1
    if first >= 0 and prefix and head[:first] != prefix:
        return None
    if second < 0:
        raise BadMessageError("no_header", "no 'prefix name payload' at the head", length)
    name = head[first + 1 : second].decode("ascii", "replace")
    if name not in DOCUMENT_NAMES:
        raise BadMessageError("unknown_name", "not the name of a Bluesky document", length)
    doc = loads(memoryview(message)[second + 1 :], limits)
    if type(doc) is not dict or not all(type(key) is str for key in doc):
        raise BadMessageError("not_a_document", "the payload is not a map with text keys", length)
    return name, doc


def check_prefix(prefix: bytes) -> bytes:
    """Return the prefix if it can be used.

    Raises
    ------
    ConfigError
        It is no bytes, holds a space or is longer than 255 bytes.
    """
    if not isinstance(prefix, bytes) or b" " in prefix or len(prefix) > 255:
        raise ConfigError(
            f"a prefix is at most 255 bytes without a space, got {prefix!r}: choose another"
        )
    return prefix


@dataclass(frozen=True, slots=True)
class Received:
    """One document as it came.

    Attributes
    ----------
    name, doc : the document.
    received_at : wall clock at receipt, s since the epoch.
    nbytes : length of its message, or about what it holds in memory where there was no message.
    lost : what was given up between the document before this one and this one, see `Losses`.
    """

    name: str
    doc: Document
    received_at: float
    nbytes: int
    lost: tuple[NamedDocument, ...] = ()
