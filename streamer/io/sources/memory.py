"""Documents that are handed over inside one process."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from pydantic import Field

from ...core.frames import Document
from ..wire.codec import nbytes
from ..wire.curve import WireSettings
from .queued import QueuedSource


class MemorySourceSettings(WireSettings):
    """Documents that are handed over inside one process."""

    documents: Any = Field(
        default=None,
        description="Iterable of (name, doc) to hand out; none: they are pushed, then finished",
    )
    max_bytes: int = Field(
        default=1 << 30, gt=0, description="Bytes of documents that may wait; `push` then blocks"
    )


class MemorySource(QueuedSource):
    """Given documents, or a hand-over between threads (``RE.subscribe(source.push)``).

    Parameters
    ----------
    settings : see `MemorySourceSettings`.
    """

    Settings: ClassVar = MemorySourceSettings

    def __init__(self, settings: MemorySourceSettings) -> None:
        super().__init__(settings.max_bytes, "block")
        self._given = settings.documents

    def open(self) -> None:
        """Start to hand out the given documents; the first call counts."""
        self.ready.set()
        if self._given is not None:
            super().open()

    def push(self, name: str, doc: Document) -> None:
        """Hand over a document; waits while the queue is full."""
        self._admit(name, doc, time.time(), nbytes(doc))

    def finish(self) -> None:
        """Say that nothing more will be pushed."""
        self._queue.close()

    def _receive(self) -> None:
        for name, doc in self._given or ():
            if self._stopping.is_set():
                return
            self.push(name, doc)
