"""Sources of documents: 0MQ, a journal, recordings, memory.

A source is a context manager. Inside, either iterate over `documents()` or take what has queued
up with `drain()`; both give the documents in the order of arrival::

    with make_source("zmq", address="localhost:5578") as source:
        source.wait_ready(10)
        while not source.exhausted:
            for item in source.drain(max_items=64, timeout=0.5):
                processor(item.name, item.doc)
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, runtime_checkable

from pydantic import BaseModel, ValidationError

from ...errors import ConfigError
from ..wire.message import Received

SOURCES = {
    "zmq": "operando.streamer.io.sources.zmq:ZmqSource",
    "journal": "operando.streamer.io.sources.journal:JournalSource",
    "recording": "operando.streamer.io.sources.files:RecordingSource",
    "memory": "operando.streamer.io.sources.files:MemorySource",
}
"""Kinds of sources; a dotted path ``package.module:Class`` needs no entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceCounters:
    """Numbers of a source; ``received = decoded + bad + ignored``.

    Attributes
    ----------
    received : messages that came.
    decoded : documents made of them.
    bad : messages refused as malformed.
    bad_reasons : the same by the `kind` of `BadMessageError`.
    ignored : messages of publishers with another prefix.
    dropped : documents given up because the queue was full.
    bytes : bytes received.
    queued, queued_bytes : documents waiting now, and their bytes.
    disconnects : times the connection was lost.
    """

    received: int = 0
    decoded: int = 0
    bad: int = 0
    ignored: int = 0
    dropped: int = 0
    bytes: int = 0
    queued: int = 0
    queued_bytes: int = 0
    disconnects: int = 0
    bad_reasons: Mapping[str, int] = field(default_factory=dict)


@runtime_checkable
class Source(Protocol):
    """Interface of a source to the service."""

    def __enter__(self) -> Self:
        """Start to receive."""
        ...

    def __exit__(self, *exc_info: object) -> None:
        """Close."""
        ...

    @property
    def exhausted(self) -> bool:
        """Return whether nothing is queued and nothing more can come."""
        ...

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Wait up to `timeout` s until no document published from now on can be missed."""
        ...

    def documents(self) -> Iterator[Received]:
        """Yield documents as they come until the source is exhausted."""
        ...

    def drain(self, max_items: int = 1024, timeout: float = 0.0) -> list[Received]:
        """Take what is queued; wait up to `timeout` s if nothing is."""
        ...

    def counters(self) -> SourceCounters:
        """Return what was seen so far."""
        ...

    def close(self) -> None:
        """Stop receiving; what is queued can still be drained."""
        ...


def make_source(kind: str, **settings: Any) -> Source:
    """Build a source by its kind.

    Parameters
    ----------
    kind : key of `SOURCES` or a dotted path ``package.module:Class``.
    settings : fields of the ``Settings`` model of that class.

    Raises
    ------
    ConfigError
        The kind is unknown or a setting does not fit.
    """
    path = SOURCES.get(kind, kind)
    if ":" not in path:
        raise ConfigError(
            f"no source {kind!r}; there are {', '.join(SOURCES)}, or give a path a.b:C"
        )
    try:
        factory: Any = pkgutil.resolve_name(path)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"the source {kind!r} cannot be imported: {error}") from error
    model: type[BaseModel] = factory.Settings
    try:
        return factory(model(**settings))
    except ValidationError as error:
        raise ConfigError(f"the settings of the source {kind!r} do not fit: {error}") from error
