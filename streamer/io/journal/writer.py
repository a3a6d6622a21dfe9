"""Appends documents to the journal."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from itertools import pairwise
from typing import IO, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ...errors import JournalError
from ..wire.message import ESSENTIAL
from ..wire.queue import DROPPED
from .segments import HEADER_BYTES, JournalFolder, SegmentWriter, whole_bytes


class JournalSettings(BaseModel):
    """Sizes and times of a journal."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    segment_mb: float = Field(
        default=128.0, gt=0, description="MB after which a new segment file is begun"
    )
    max_gb: float = Field(
        default=50.0,
        gt=0,
        description="GB that the journal may take: beyond it segments whose results are confirmed "
        "are removed, the oldest first; those that are not confirmed never are",
    )
    keep_h: float = Field(
        default=24.0,
        ge=0,
        description="h for which segments are kept after their results were confirmed, for late "
        "joiners and for a second processing",
    )
    when_full: Literal["drop", "block"] = Field(
        default="drop",
        description="what happens when max_gb is taken by what is not confirmed, or the disk is "
        "full: drop gives up documents of images, counted, and keeps those that open and close "
        "runs; block stops receiving until there is room, whereupon 0MQ drops without telling",
    )
    sync_s: float = Field(
        default=1.0,
        gt=0,
        description="s after which what was written is forced to the disk, so that a loss of power "
        "costs no more",
    )
    linger_s: float = Field(
        default=900.0,
        ge=0,
        description="s for which a keeper that a processor has started goes on receiving after "
        "that processor was killed, so that a restarted one misses nothing",
    )
    checkpoint_s: float = Field(
        default=2.0,
        gt=0,
        description="s between checkpoints of the processor, at least; more where they are costly",
    )

    @model_validator(mode="after")
    def _has_segments(self) -> Self:
        if 4 * self.segment_mb > 1000 * self.max_gb:
            raise ValueError(
                f"segment_mb is at most a quarter of max_gb, as whole segments are removed, got "
                f"{self.segment_mb} MB of {self.max_gb} GB"
            )
        return self


_FREE_FOR_ESSENTIAL = 64 << 20
"""Bytes beyond the bound for documents that open and close runs; by eye, some kB each."""


class JournalWriter:
    """The one process that writes to a journal.

    Parameters
    ----------
    folder : of the journal. What a writer that was killed left of its last record is cut off.
    settings : see `JournalSettings`.
    clock : wall clock, s since the epoch.

    Raises
    ------
    JournalError
        Another process writes to this journal.
    """

    def __init__(
        self,
        folder: JournalFolder,
        settings: JournalSettings | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._settings = settings or JournalSettings.model_validate({})
        self._clock = clock
        lock = folder.lock("keeper")
        if lock is None:
            owner = folder.read_status("keeper").get("pid", "unknown")
            raise JournalError(
                f"another process (pid {owner}) writes to the journal {folder.path}: end it, or "
                "name another folder"
            )
        self._lock: IO[bytes] = lock
        self._file: SegmentWriter | None = None
        self._begin, self._end = self._recover()
        self._first = next(iter(folder.segments()), self._end)
        self._synced = self._end

    @property
    def end(self) -> int:
        """Return the position after the last record."""
        return self._end

    def append(self, message: bytes, name: str, received_at: float) -> bool:
        """Append the message of a document.

        Parameters
        ----------
        message : as `wire.pack` makes it.
        name : of the document.
        received_at : wall clock, s since the epoch.

        Returns
        -------
        False if there is no room for it; see ``when_full``. It may be tried again.
        """
        size = HEADER_BYTES + len(message)
        room = self._room()
        if name in ESSENTIAL or name == DROPPED:
            room += _FREE_FOR_ESSENTIAL
        if size > room:
            return False
        try:
            self._end += self._segment().append(message, received_at)
        except OSError:
            return False
        return True

    def sync(self) -> None:
        """Force what was written to the disk."""
        if self._file is not None and self._synced < self._end:
            self._file.sync()
            self._synced = self._end

    def prune(self, confirmed: int) -> list[int]:
        """Remove segments that are confirmed, if they are too old or take too much room.

        Parameters
        ----------
        confirmed : position up to which nothing is needed any more.

        Returns
        -------
        Where the removed segments began.
        """
        begins = self._folder.segments()
        most = 1e9 * self._settings.max_gb - 1e6 * self._settings.segment_mb  # room for the next
        removed = []
        for begin, following in pairwise(begins):
            path = self._folder.segment(begin)
            if following > confirmed:
                break
            aged = self._clock() - path.stat().st_mtime > 3600 * self._settings.keep_h
            if not aged and self._end - begin <= most:
                break
            path.unlink()
            self._first = following
            removed.append(begin)
        return removed

    def close(self) -> None:
        """Close the files and let others write."""
        if self._file is not None:
            self.sync()
            self._file.close()
            self._file = None
        self._lock.close()

    def __enter__(self) -> Self:
        """Return the writer; a file is opened with the first document."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close the files."""
        self.close()

    def _room(self) -> int:
        return int(1e9 * self._settings.max_gb) - (self._end - self._first)

    def _segment(self) -> SegmentWriter:
        """Return the segment to write to; begin the next one where it is full."""
        full = 1e6 * self._settings.segment_mb
        if self._file is None or self._end - self._begin >= full:
            if self._file is not None:
                self.sync()
                self._file.close()
            self._begin = self._end
            self._file = SegmentWriter(self._folder.segment(self._begin))
        return self._file

    def _recover(self) -> tuple[int, int]:
        """Find the end of the last whole record, and cut off what lies behind it."""
        begins = self._folder.segments()
        if not begins:
            return 0, 0
        path = self._folder.segment(begins[-1])
        os.truncate(path, whole_bytes(path))
        self._file = SegmentWriter(path)
        return begins[-1], begins[-1] + self._file.size
