"""Result documents into rows: the fold that everything shares which reads results as they come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .frames import NamedDocument

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Streams:
    """Run and name of each open stream, by the uid of its descriptor.

    Examples
    --------
    >>> streams = Streams().updated("descriptor", {"uid": "d", "run_start": "r", "name": "frames"})
    >>> streams.of({"descriptor": "d"})
    ('r', 'frames')
    """

    known: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def updated(self, name: str, doc: Row) -> Streams:
        """Return the streams after a document: a descriptor opens one, a stop closes its run's."""
        if name == "descriptor":
            return Streams({**self.known, doc["uid"]: (doc["run_start"], doc["name"])})
        if name == "stop":
            run = doc["run_start"]
            return Streams({uid: place for uid, place in self.known.items() if place[0] != run})
        return self

    def of(self, event: Row) -> tuple[str, str]:
        """Return run and stream of an event; both "" if its descriptor is not known."""
        return self.known.get(event["descriptor"], ("", ""))


def stream_of(data: Row) -> str:
    """Return the stream of an event by its keys, for who joined late; "" if it is none of those."""
    if "ledger_received" in data:
        return "frames"
    if "displacement_y" in data:
        return "particles"
    return "advice" if "severity" in data else ""


def rows_of(documents: Iterable[NamedDocument]) -> dict[str, list[dict[str, Any]]]:
    """Collect the data of events by stream, in their order.

    Parameters
    ----------
    documents : of one or several runs; event pages are passed over, for results have none.
    """
    streams, rows = Streams(), dict[str, list[dict[str, Any]]]()
    for name, doc in documents:
        streams = streams.updated(name, doc)
        if name == "event":
            rows.setdefault(streams.of(doc)[1], []).append(doc["data"])
    return rows
