"""Which run a document belongs to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..frames import Document

_REFERENCES = {
    "event": ("descriptor",),
    "event_page": ("descriptor",),
    "datum": ("resource",),
    "datum_page": ("resource",),
    "bulk_datum": ("resource",),
    "stream_datum": ("stream_resource", "descriptor"),
}


class RunRoutes:
    """Follows the references between documents to the uid of their run.

    A document that names its run is believed, started or not (a late joiner sees no start). A
    resource without ``run_start``, which the schema allows, belongs to the run that is open if
    there is exactly one.
    """

    def __init__(self) -> None:
        self._run_of: dict[str, str] = {}
        self._open: dict[str, None] = {}

    def run_of(self, name: str, doc: Document) -> str | None:
        """Return the uid of the run of a document and learn from it; None if nobody knows."""
        if name == "start":
            run = self._text(doc, "uid")
        elif name in ("stop", "descriptor", "resource", "stream_resource"):
            run = self._text(doc, "run_start") or self._only_open()
        else:
            run = self._referred(name, doc)
        if run is None:
            return None
        self._open[run] = None
        uid = self._text(doc, "uid")
        if uid and name in ("descriptor", "resource", "stream_resource"):
            self._run_of[uid] = run
        return run

    def forget(self, run: str) -> None:
        """Drop what is known of a run that has stopped."""
        self._open.pop(run, None)
        self._run_of = {uid: owner for uid, owner in self._run_of.items() if owner != run}

    def _referred(self, name: str, doc: Document) -> str | None:
        if name == "bulk_events":
            keys = [self._text(event, "descriptor") for event in _bulk_events(doc)]
        else:
            keys = [self._text(doc, key) for key in _REFERENCES.get(name, ())]
        return next((self._run_of[key] for key in keys if key in self._run_of), None)

    def _only_open(self) -> str | None:
        return next(iter(self._open)) if len(self._open) == 1 else None

    @staticmethod
    def _text(doc: Mapping[str, Any], key: str) -> str | None:
        value = doc.get(key)
        return value if isinstance(value, str) and value else None


def _bulk_events(doc: Document) -> Iterator[Document]:
    for events in doc.values():
        if isinstance(events, list):
            yield from (event for event in events if isinstance(event, dict))
