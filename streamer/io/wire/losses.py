"""Events that a source had to give up, for the ledgers of their runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...core.frames import Document, NamedDocument

DROPPED = "dropped"
"""Name under which the processor is told of events that a source gave up. No publisher can send
it: on the wire only the names of the event model are let through."""

OVERLOAD = "overload"
"""Reason of the ledger: more came than could be processed, and there was no room to keep it."""


class Losses:
    """Events that were given up and not passed on yet, as ranges of their numbers."""

    def __init__(self) -> None:
        self._ranges: dict[str, list[list[int]]] = {}

    def __bool__(self) -> bool:
        """Return whether there is something to pass on."""
        return bool(self._ranges)

    def add(self, name: str, doc: Document) -> None:
        """Note a document that was given up; what is no event is for others to count."""
        for number in _numbers(name, doc):
            ranges = self._ranges.setdefault(str(doc.get("descriptor", "")), [])
            if ranges and ranges[-1][1] + 1 == number:
                ranges[-1][1] = number
            else:
                ranges.append([number, number])

    def documents(self) -> tuple[NamedDocument, ...]:
        """Return one document for each descriptor whose events were given up."""
        return tuple(
            (DROPPED, {"descriptor": key, "seq_nums": ranges, "reason": OVERLOAD})
            for key, ranges in self._ranges.items()
        )

    def clear(self) -> None:
        """Forget what has been passed on."""
        self._ranges = {}


def numbers_of(ranges: Sequence[Sequence[int]]) -> Iterator[int]:
    """Yield the numbers in ranges of first and last."""
    for first, last in ranges:
        yield from range(first, last + 1)


def _numbers(name: str, doc: Document) -> list[int]:
    numbers = doc.get("seq_num")
    if name == "event":
        numbers = [numbers]
    elif name != "event_page" or not isinstance(numbers, list | tuple):
        return []
    return [n for n in numbers if isinstance(n, int) and not isinstance(n, bool) and n > 0]
