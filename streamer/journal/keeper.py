"""The process that receives documents and appends them to the journal, and does nothing else."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import asdict
from typing import Any

from ..frames import Document
from ..sources import Received
from ..sources.losses import Losses
from ..sources.zmq import ZmqSource
from .folder import JournalFolder
from .records import to_message
from .settings import JournalSettings
from .writer import JournalWriter

logger = logging.getLogger(__name__)

_TELL_S = 0.25
_RETRY_S = 0.2
_MAX_ITEMS = 64
_POLL_S = 0.05


class Keeper:
    """Moves documents from a source to the journal.

    Parameters
    ----------
    source : where documents come from; opened and closed by the caller.
    folder : of the journal.
    settings : see `JournalSettings`.
    address : of the source, for others to read.
    linger : end when nobody has read for ``linger_s``; else only when told to.
    """

    def __init__(
        self,
        source: ZmqSource,
        folder: JournalFolder,
        settings: JournalSettings,
        address: str,
        *,
        linger: bool = False,
    ) -> None:
        self._source = source
        self._folder = folder
        self._settings = settings
        self._address = address
        self._linger = linger
        self._writer = JournalWriter(folder, settings)
        self._dropped = 0
        self._losses = Losses()
        self._told_at = self._synced_at = self._read_at = time.monotonic()
        self._told: dict[str, Any] = {}

    def run(self, stop: threading.Event) -> None:
        """Keep the journal until told to stop, or until nobody reads it any more."""
        try:
            while not self._source.exhausted and not self._deserted():
                if stop.is_set():
                    self._source.close()  # what has come in is still written
                for item in self._source.drain(_MAX_ITEMS, _POLL_S):
                    self._keep(item, stop)
                self._housekeeping()
        finally:
            self._tell()
            self._writer.close()

    def _keep(self, item: Received, stop: threading.Event) -> None:
        """Append a document, after what is to be told of those that were given up before it."""
        named = (item.name, item.doc)
        for name, doc in (*item.lost, *self._losses.told(), named):
            message = to_message(name, doc)
            while not self._writer.append(message, name, item.received_at):
                self._prune()
                if self._settings.when_full == "drop" or stop.wait(_RETRY_S):
                    self._drop(*named)
                    return
                self._housekeeping()
        self._losses.clear()

    def _drop(self, name: str, doc: Document) -> None:
        self._losses.add(name, doc)
        self._dropped += 1
        if self._dropped == 1:
            logger.error(
                "no room in the journal %s: a document was given up; more are counted, not told. "
                "Free space, or raise journal.max_gb",
                self._folder.path,
            )

    def _housekeeping(self) -> None:
        now = time.monotonic()
        if now - self._synced_at >= self._settings.sync_s:
            self._writer.sync()
            self._synced_at = now
        ready = self._source.ready.is_set()
        if now - self._told_at >= _TELL_S or ready != self._told.get("ready"):
            self._tell()
            self._prune()

    def _tell(self) -> None:
        self._told_at = time.monotonic()
        counters = asdict(self._source.counters())
        counters["dropped"] += self._dropped
        self._told = {
            "address": self._address,
            "ready": self._source.ready.is_set(),
            "status": self._source.status,
            "end": self._writer.end,
            "lingers": self._linger,
            "counters": counters,
        }
        self._folder.tell("keeper", self._told)

    def _prune(self) -> None:
        self._writer.prune(int(self._folder.told("reader").get("confirmed", 0)))

    def _deserted(self) -> bool:
        if not self._linger:
            return False
        now = time.monotonic()
        if self._folder.locked("reader"):
            self._read_at = now
        return now - self._read_at > self._settings.linger_s
