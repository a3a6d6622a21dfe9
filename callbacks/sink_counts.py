"""The books of a buffered sink, and what documents weigh in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

DOCUMENT_BYTES = 2048
"""What a document is taken to weigh beside its arrays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkCounts:
    """What went through a `BufferedSink`.

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


def weight(name: str, doc: Mapping[str, Any]) -> int:
    """Bytes that a document holds in memory, about."""
    if name not in ("event", "event_page"):
        return DOCUMENT_BYTES
    return DOCUMENT_BYTES + sum(array.nbytes for array in _arrays(doc["data"].values()))


def stripped(name: str, doc: Mapping[str, Any]) -> dict[str, Any]:
    """Copy an event without its arrays: they become None."""
    bare = None if name == "event" else [None] * len(doc.get("seq_num", ()))
    data = {key: bare if _has_array(value) else value for key, value in doc["data"].items()}
    return {**doc, "data": data}


def _has_array(value: Any) -> bool:
    return any(True for _ in _arrays([value]))


def _arrays(values: Any) -> Iterator[np.ndarray[Any, Any]]:
    for value in values:
        if isinstance(value, np.ndarray):
            yield value
        elif isinstance(value, list):
            yield from (item for item in value if isinstance(item, np.ndarray))
