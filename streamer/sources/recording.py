"""Documents from a recording, at the pace at which they came or faster."""

from __future__ import annotations

import time
from typing import ClassVar

from ..codec import nbytes
from ..recording.reader import read_documents
from ..recording.replay import replay
from .queued import QueuedSource
from .settings import RecordingSourceSettings


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

    def _receive(self) -> None:
        self.ready.set()
        settings = self._settings
        documents = read_documents(settings.path)
        paced = replay(documents, settings.speed, max_gap=settings.max_gap, sleep=self._sleep)
        for item in paced:
            if self._stopping.is_set():
                return
            self._admit(item.name, item.doc, time.time(), nbytes(item.doc))

    def _sleep(self, seconds: float) -> None:
        self._stopping.wait(seconds)
