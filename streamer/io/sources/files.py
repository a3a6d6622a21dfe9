"""Documents from a recording, at the pace at which they came or faster."""

from __future__ import annotations

import logging
import time
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from ...core.frames import Document
from ..recording.dialects import Recorded
from ..recording.reader import read_documents
from ..recording.replay import message_of, replay
from ..wire.codec import BadMessageError, nbytes
from ..wire.curve import WireSettings
from ..wire.message import unpack
from .queued import QueuedSource

log = logging.getLogger(__name__)
Speed = float | Literal["max"]


class RecordingSourceSettings(WireSettings):
    """Playing back a recording."""

    path: str = Field(description="File, folder of files, or http(s) address of a run in Tiled")
    speed: Speed = Field(
        default="max", description="1 as it happened, N times faster, or max: without waiting"
    )
    max_gap: float = Field(
        default=60.0, ge=0, description="Longest wait between two documents, s, whatever clocks say"
    )
    max_bytes: int = Field(
        default=1 << 28, gt=0, description="Bytes of documents read ahead of the processing"
    )
    injector: Any = Field(
        default=None, description="`FaultInjector` that breaks what is read; none: as recorded"
    )

    @field_validator("speed")
    @classmethod
    def _positive(cls, value: Speed) -> Speed:
        if value != "max" and not value > 0:
            raise ValueError(f"speed is a number above 0 or max, got {value}")
        return value


class RecordingSource(QueuedSource):
    """Plays a recording back through the same interface as a live source.

    Parameters
    ----------
    settings : see `RecordingSourceSettings`.
    """

    Settings: ClassVar = RecordingSourceSettings

    def __init__(self, settings: RecordingSourceSettings) -> None:
        super().__init__(settings.max_bytes, "block")
        self._settings = settings
        self._bad_kinds: set[str] = set()

    def _receive(self) -> None:
        self.ready.set()
        settings = self._settings
        documents = read_documents(settings.path)
        if settings.injector is not None:
            documents = settings.injector(documents)
        paced = replay(documents, settings.speed, max_gap=settings.max_gap, sleep=self._sleep)
        for item in paced:
            if self._stopping.is_set():
                return
            self._deliver(item)

    def _deliver(self, item: Recorded) -> None:
        message = message_of(item)
        if message is None:
            self._admit(item.name, item.doc, time.time(), nbytes(item.doc))
            return
        # what a damaged message is worth is for the decoder of the wire to say
        try:
            named = unpack(message)
        except BadMessageError as error:
            self._count(received=1, bad=1, bytes=len(message))
            if error.kind not in self._bad_kinds:
                self._bad_kinds.add(error.kind)
                log.warning("dropped a damaged message: %s; more are counted, not logged", error)
            return
        if named is not None:
            self._admit(*named, time.time(), len(message))

    def _sleep(self, seconds: float) -> None:
        self._stopping.wait(seconds)


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
