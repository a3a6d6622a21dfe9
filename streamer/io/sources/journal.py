"""Documents from a journal, as its keeper writes them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import IO, Any, ClassVar, Self

from pydantic import Field

from ...errors import JournalError
from ..journal.reader import JournalReader
from ..journal.segments import JournalFolder
from ..wire.curve import WireSettings
from ..wire.message import Received
from . import SourceCounters

logger = logging.getLogger(__name__)
_BATCH = 256
_POLL_S = 0.25


class JournalSourceSettings(WireSettings):
    """Reading a journal while it is written."""

    folder: Path = Field(description="Folder of the journal")
    position: int | None = Field(
        default=None, description="of the first document, bytes; none: the oldest there is"
    )
    poll: float = Field(default=0.01, gt=0, description="s between looks for something new")
    max_bytes: int = Field(
        default=64 << 20, gt=0, description="Bytes of documents handed out at once"
    )


class JournalSource:
    """Follows a journal; however far it lags behind the keeper, it holds little in memory.

    Parameters
    ----------
    settings : see `JournalSourceSettings`.
    """

    Settings: ClassVar = JournalSourceSettings

    def __init__(self, settings: JournalSourceSettings) -> None:
        self._settings = settings
        self._folder = JournalFolder(settings.folder)
        self._lock: IO[bytes] | None = None
        self._reader: JournalReader | None = None
        self._until: int | None = None
        self._exhausted = False

    @property
    def position(self) -> int:
        """Return the position in the journal after the documents handed out so far."""
        return self._opened().position

    @property
    def behind(self) -> int:
        """Return the bytes of the journal that were not handed out yet."""
        reader = self._reader
        return 0 if reader is None else max(0, reader.end - reader.position)

    def start_at(self, position: int | None) -> None:
        """Begin at a position instead; at the oldest document if that or None is not there."""
        oldest = next(iter(self._folder.segments()), 0)
        if position is not None and position < oldest:
            logger.error(
                "the journal does not reach back to the checkpoint; starting at its oldest"
            )
            position = None
        self._settings = self._settings.model_copy(update={"position": position})

    def confirm(self, position: int) -> None:
        """Let the keeper remove what lies before a position."""
        self._folder.write_status("reader", {"confirmed": position, "position": self.position})

    def __enter__(self) -> Self:
        """Begin to read: the keeper receives.

        Raises
        ------
        JournalError
            Another process reads this journal, or it no longer reaches back to ``position``.
        """
        self._opened()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close the files and let others read."""
        self.close()
        if self._reader is not None:
            self._reader.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def exhausted(self) -> bool:
        """Return whether it was closed and all that had come by then was handed out."""
        return self._exhausted

    @property
    def status(self) -> str:
        """Return the state of the connection in words, as the keeper tells it."""
        return str(self._folder.read_status("keeper").get("status", "the keeper has not started"))

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Wait up to `timeout` s until the keeper misses nothing that is published."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._ready():
            if deadline is not None and time.monotonic() >= deadline:
                return False
            time.sleep(self._settings.poll)
        return True

    def documents(self) -> Iterator[Received]:
        """Yield documents as they come until the source is exhausted."""
        while not self.exhausted:
            yield from self.drain(_BATCH, _POLL_S)

    def drain(self, max_items: int = 1024, timeout: float = 0.0) -> list[Received]:
        """Take what has been written; wait up to `timeout` s if there is nothing new."""
        deadline = time.monotonic() + timeout
        reader = self._opened()
        while True:
            until = self._until
            taken = reader.read(max_items, self._settings.max_bytes)
            if taken or until is not None or time.monotonic() >= deadline:
                break
            time.sleep(self._settings.poll)
        if until is not None and (not taken or reader.position >= until):
            self._exhausted = True
        return [item for _, item in taken]

    def counters(self) -> SourceCounters:
        """Return what the keeper has seen; what waits is what lies ahead in the journal."""
        told = self._folder.read_status("keeper").get("counters", {})
        known: dict[str, Any] = {
            f.name: told[f.name] for f in fields(SourceCounters) if f.name in told
        }
        damaged = 0 if self._reader is None else self._reader.damaged
        known["bad"] = known.get("bad", 0) + damaged
        return SourceCounters(**{**known, "queued_bytes": self.behind})

    def close(self) -> None:
        """Take no more than what has been written by now."""
        if self._until is None:
            self._until = self._reader.end if self._reader is not None else 0

    def _opened(self) -> JournalReader:
        if self._reader is None:
            self._lock = self._folder.lock("reader")
            if self._lock is None:
                pid = self._folder.read_status("reader").get("pid", "unknown")
                raise JournalError(
                    f"another process (pid {pid}) reads the journal {self._folder.path}: end it, "
                    "or name another folder"
                )
            self._reader = JournalReader(self._folder, self._settings.position)
        return self._reader

    def _ready(self) -> bool:
        told = self._folder.read_status("keeper")
        return bool(told.get("ready")) and self._folder.locked("keeper")
