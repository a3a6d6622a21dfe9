"""Documents from a recording, at the pace at which they came or faster."""

from __future__ import annotations

import logging
import time
from typing import ClassVar

from ..recording.dialects import Recorded
from ..recording.reader import read_documents
from ..recording.replay import message_of, replay
from ..wire.codec import BadMessageError, nbytes
from ..wire.message import unpack
from .queued import QueuedSource
from .settings import RecordingSourceSettings

log = logging.getLogger(__name__)


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
