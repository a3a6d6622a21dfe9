"""The one collector of result documents, and what tests read out of documents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from operando.callbacks import StreamProcessor
from operando.streamer.config import Settings, load_settings
from operando.streamer.core.frames import NamedDocument
from operando.streamer.core.streams import Streams, rows_of


def collect(
    documents: Iterable[NamedDocument],
    settings: Settings | Mapping[str, Any] | str | None = None,
    *,
    groups: bool = False,
    **arguments: Any,
) -> list[NamedDocument]:
    """Return the result documents of raw documents.

    Parameters
    ----------
    documents : sent one by one; with `groups`, an iterable of lists that are sent at once.
    settings : of the processor, a profile, or overrides of the defaults.
    **arguments : of `StreamProcessor`.
    """
    if isinstance(settings, Mapping):
        settings = load_settings(None, dict(settings))
    results: list[NamedDocument] = []
    processor = StreamProcessor(settings, **arguments)
    processor.subscribe(lambda name, doc: results.append((name, doc)))
    for item in documents:
        processor.process(item if groups else [item])  # pyright: ignore[reportArgumentType]
    processor.close()
    return results


def events(documents: Iterable[NamedDocument], stream: str) -> list[dict[str, Any]]:
    """Return the events of a stream."""
    documents = list(documents)
    return [documents[i][1] for i in places(documents, stream)]


def places(documents: Iterable[NamedDocument], stream: str = "primary") -> list[int]:
    """Return the indices of the events of a stream in a list of documents."""
    streams, found = Streams(), []
    for i, (name, doc) in enumerate(documents):
        streams = streams.updated(name, doc)
        if name == "event" and streams.of(doc)[1] == stream:
            found.append(i)
    return found


def table(documents: Iterable[NamedDocument], stream: str) -> pd.DataFrame:
    """Return the rows of a stream."""
    return pd.DataFrame(rows_of(documents).get(stream, []))


def ledgers(documents: Iterable[NamedDocument]) -> list[dict[str, Any]]:
    """Return the ledger of each run that has stopped."""
    return [doc["ledger"] for name, doc in documents if name == "stop"]
