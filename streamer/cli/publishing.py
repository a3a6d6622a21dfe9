"""Results of a processor to 0MQ, for whoever acts on them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...callbacks.publisher import FramePublisher
from ...callbacks.sink_counts import stripped
from ..frames import Document

if TYPE_CHECKING:
    from ...callbacks.processor import StreamProcessor


@dataclass(frozen=True, slots=True)
class Outlet:
    """In side of a proxy, ``host:port``, and the folder with a publisher's CURVE keys, if any."""

    address: str
    keys: Path | None = None


@contextmanager
def publishing(processor: StreamProcessor, outlet: Outlet | None) -> Iterator[None]:
    """Publish result documents without their images for as long as the context lasts.

    They never hold up the processor: what a proxy does not take is dropped, as by any
    `FramePublisher`.
    """
    if outlet is None:
        yield
        return
    curve = None
    if outlet.keys is not None:
        from ..curve_keys import client_curve

        curve = client_curve(outlet.keys, "publisher")
    publisher = FramePublisher(outlet.address, max_bytes=1 << 24, curve=curve)

    def send(name: str, doc: Document) -> None:
        publisher(name, stripped(name, doc) if name == "event" else doc)

    token = processor.subscribe(send)
    try:
        yield
    finally:
        processor.unsubscribe(token)
        publisher.close()
