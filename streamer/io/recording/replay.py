"""Give documents out at the pace at which they came, or at a multiple of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from ...core.frames import Document
from ...errors import ConfigError
from .dialects import Recorded


def replay(
    documents: Iterable[Recorded],
    speed: float | Literal["max"] = 1.0,
    *,
    max_gap: float = 60.0,
    sleep: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Recorded]:
    """Pace a recording.

    The schedule is absolute: time the consumer spends on a document is not added to the pauses.
    Gaps are measured between times of arrival where both documents have one, else between the times
    in the documents. Those may be insane: a step back counts as none, a step ahead as `max_gap`.

    Parameters
    ----------
    documents : as `read_documents` yields them.
    speed : 1 as it happened, N times faster, ``"max"`` without waiting.
    max_gap : longest wait between two documents, s.
    sleep : waits the given seconds.
    clock : monotonic time, s.

    Raises
    ------
    ConfigError
        The speed is not above 0.
    """
    if speed == "max":
        yield from documents
        return
    if not (isinstance(speed, int | float) and speed > 0):
        raise ConfigError(f"the speed of a replay is a number above 0 or 'max', got {speed!r}")
    pace = _Pace()
    due = clock()
    for item in documents:
        due += min(pace.gap(item) / speed, max_gap)
        wait = due - clock()
        if wait > 0:
            sleep(wait)
        yield item


class _Pace:
    """Measures the gap to the document before; never negative, never NaN."""

    def __init__(self) -> None:
        self._arrival: float | None = None
        self._doc_time: float | None = None

    def gap(self, item: Recorded) -> float:
        before, self._arrival = self._arrival, item.arrival
        if before is not None and item.arrival is not None:
            self._doc_time = document_time(item.doc)
            return _sane(item.arrival - before)
        now = document_time(item.doc)
        if now is None:
            return 0.0
        previous, self._doc_time = self._doc_time, now
        return 0.0 if previous is None else _sane(now - previous)


def document_time(doc: Document) -> float | None:
    """Return the time in a document, s since the epoch; of a page that of its last event."""
    stamp = doc.get("time")
    if isinstance(stamp, list):
        stamp = stamp[-1] if stamp else None
    if isinstance(stamp, bool) or not isinstance(stamp, int | float):
        return None
    return float(stamp) if math.isfinite(stamp) else None


def _sane(gap: float) -> float:
    return gap if gap > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Delivered(Recorded):
    """One document as it arrives.

    Attributes
    ----------
    message : its damaged message, None for a document that is whole.
    """

    message: bytes | None = None


def message_of(item: Recorded) -> bytes | None:
    """Return the damaged message that arrives in the place of a document, None if it is whole."""
    return item.message if isinstance(item, Delivered) else None
