"""Event pages, row by row."""

from __future__ import annotations

from typing import Any

from ..assemble.values import section, sequence
from ..frames import Document, NamedDocument

_COLUMNS = ("uid", "time", "seq_num")
_TABLES = ("data", "timestamps", "filled")


def split(name: str, doc: Document) -> list[NamedDocument]:
    """Make an event_page pages of one row each; everything else is left as it is."""
    rows = len(sequence(doc.get("seq_num")))
    if name != "event_page" or rows < 2:
        return [(name, doc)]
    return [(name, _row(doc, index)) for index in range(rows)]


def single_row(page: Document) -> Document:
    """Return the first row of a page as an event has it; what is missing is left out."""
    row: Document = {}
    for key in _COLUMNS:
        column = sequence(page.get(key))
        if len(column):
            row[key] = column[0]
    return row


def data_of(name: str, doc: Document) -> dict[str, Any]:
    """Return the data of an event, or of a page of one row."""
    data = section(doc, "data")
    if name != "event_page":
        return data
    return {key: column[0] for key, column in data.items() if len(sequence(column))}


def with_value(name: str, doc: Document, key: str, value: Any) -> Document:
    """Return a copy of an event, or a page of one row, with another value in its data."""
    column = [value] if name == "event_page" else value
    return {**doc, "data": {**section(doc, "data"), key: column}}


def with_uid(name: str, doc: Document, uid: str) -> Document:
    """Return a copy of a document under another uid."""
    return {**doc, "uid": [uid] if name == "event_page" else uid}


def _row(page: Document, index: int) -> Document:
    row = dict(page)
    for key in _COLUMNS:
        row[key] = list(sequence(page.get(key))[index : index + 1])
    for key in _TABLES:
        columns = section(page, key)
        row[key] = {k: list(sequence(c)[index : index + 1]) for k, c in columns.items()}
    return row
