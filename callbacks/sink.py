"""Where result documents go: anything called with ``(name, doc)``.

Wrapped in a `BufferedSink` it runs in a thread of its own behind a queue that is bounded in bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pkgutil import resolve_name
from typing import Any, Protocol, runtime_checkable

SINKS: dict[str, str] = {
    "tiled": "operando.callbacks.tiled_sink:TiledSink",
    "recording": "operando.streamer.recording.writer:RecordingWriter",
    "zmq": "operando.callbacks.publisher:FramePublisher",
}
"""Sinks by name; a dotted path ``package.module:Object`` needs no entry here."""


@runtime_checkable
class Sink(Protocol):
    """Anything that result documents can be given to."""

    def __call__(self, name: str, doc: Mapping[str, Any], /) -> object:
        """Take one document."""
        ...


@runtime_checkable
class TickingSink(Sink, Protocol):
    """A sink that also works between documents."""

    def tick(self) -> float | None:
        """Do what is due; return in how many seconds to call again, None for no need."""
        ...


@runtime_checkable
class CongestedSink(TickingSink, Protocol):
    """A sink that says when it wants no more documents until a later tick."""

    @property
    def congested(self) -> bool:
        """Whether documents had better wait where they are."""
        ...


def resolve_sink(name: str) -> Any:
    """Return the sink class or callable that `name` stands for.

    Parameters
    ----------
    name : a key of `SINKS`, or a dotted path ``package.module:Object``.
    """
    return resolve_name(SINKS.get(name, name))
