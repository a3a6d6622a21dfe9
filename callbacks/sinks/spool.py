"""Documents that wait on disk, first in, first out.

The way of results while a server is away: append-only segment files in a folder of this process,
deleted as they are read. A spool does not outlive its process: whoever must survive a crash keeps
a journal of what came in, from which results are made again. Folders that a killed process left
are removed by the next spool that is made beside them.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ...streamer.errors import JournalError, SinkError
from ...streamer.io.journal.segments import SegmentWriter, flock, read_record
from ...streamer.io.wire.codec import BadMessageError, Limits, dumps, loads
from .protocols import DOCUMENT_BYTES, stripped, weight

_log = logging.getLogger(__name__)
PREFIX = "operando-spool-"
LOCK = "lock"
OURS = Limits(max_message_bytes=1 << 32, max_array_bytes=1 << 32, max_depth=64)
"""What we wrote ourselves may be as large as msgpack allows."""

Named = tuple[str, Mapping[str, Any]]


@dataclass(slots=True, eq=False)
class _Segment:
    """A file of records, each of name and document in msgpack."""

    path: Path
    writer: SegmentWriter
    reader: IO[bytes]
    waiting: int = 0
    read: int = 0

    def close(self) -> None:
        self.writer.close()
        self.reader.close()


class Spool:
    """A queue of documents on disk, bounded in bytes; may be used from two threads.

    Beyond the bound, and where the disk takes no more, images are taken out of events and counted
    by the caller; rows are kept whatever happens, in memory if there is no other place.

    Parameters
    ----------
    folder : where the folder of this spool is made, at the first document; None: the system's
        place for temporary files.
    max_bytes : what may lie on disk; events without arrays may exceed it.
    segment_bytes : size of one file; disk space comes back file by file.
    reserve_bytes : space on the disk that images leave free for others.

    Raises
    ------
    SinkError
        The folder cannot be used.
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        max_bytes: int = 20 * 10**9,
        *,
        segment_bytes: int = 64 << 20,
        reserve_bytes: int = 1 << 30,
    ) -> None:
        self._parent = Path(tempfile.gettempdir() if folder is None else folder)
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes
        self._reserve_bytes = reserve_bytes
        self._lock = threading.Lock()
        # a deque in it: documents that the disk did not take
        self._pieces: deque[_Segment | deque[Named]] = deque()
        self._bytes = 0
        self._serial = 0
        self._folder: Path | None = None
        self._mark: IO[bytes] | None = None
        self._warned = False
        try:
            self._parent.mkdir(parents=True, exist_ok=True)
            remove_stale(self._parent)
        except OSError as error:
            raise SinkError(
                f"the spool folder {self._parent} cannot be used ({error}); "
                "set tiled.spool_dir to a folder that can be written"
            ) from error

    @property
    def nbytes(self) -> int:
        """Return the bytes on disk that wait to be read."""
        return self._bytes

    def append(self, name: str, doc: Mapping[str, Any]) -> tuple[bool, int]:
        """Put a document at the end.

        Returns
        -------
        Whether its arrays were taken out, and how many bytes of it are still in memory: 0, unless
        the disk does not take it.
        """
        with self._lock:
            if self._store(name, doc):
                return False, 0
            bare = name in ("event", "event_page") and weight(name, doc) > DOCUMENT_BYTES
            if bare:
                doc = stripped(name, doc)
                if self._store(name, doc):
                    return True, 0
            self._hold(name, doc)
            return bare, weight(name, doc)

    def pop(self) -> tuple[Named, int]:
        """Take the first document, and say how many bytes of it were in memory.

        Raises
        ------
        SinkError
            It cannot be read back; it is gone, and the next call gives the next one.
        IndexError
            The spool is empty.
        """
        with self._lock:
            piece = self._pieces[0]
            if isinstance(piece, deque):
                name, doc = piece.popleft()
                if not piece:
                    self._pieces.popleft()
                return (name, doc), weight(name, doc)
            try:
                name, doc = loads(self._next(piece), OURS)
            except (OSError, JournalError, BadMessageError) as error:
                raise SinkError(
                    f"a document cannot be read back from the spool: {error}"
                ) from error
            finally:
                piece.waiting -= 1
                if not piece.waiting:
                    self._remove(piece)
            return (name, doc), 0

    def close(self) -> None:
        """Remove the folder with all that is in it."""
        with self._lock:
            for piece in self._pieces:
                if isinstance(piece, _Segment):
                    piece.close()
            self._pieces.clear()
            self._bytes = 0
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
            if self._mark is not None:
                self._mark.close()
            self._folder = self._mark = None

    # -- writing, under the lock -------------------------------------------------------------

    def _store(self, name: str, doc: Mapping[str, Any]) -> bool:
        try:
            record = dumps((name, doc))
            if weight(name, doc) > DOCUMENT_BYTES and not self._has_room(len(record)):
                return self._refused("it is full")
            self._write(record)
        except (OSError, BadMessageError) as error:
            return self._refused(str(error))
        self._warned = False
        return True

    def _refused(self, why: str) -> bool:
        if not self._warned:
            _log.warning("the spool in %s takes no more images: %s", self._parent, why)
        self._warned = True
        return False

    def _has_room(self, size: int) -> bool:
        if self._bytes + size > self._max_bytes:
            return False
        return shutil.disk_usage(self._folder or self._parent).free - size >= self._reserve_bytes

    def _segment(self) -> _Segment:
        last = self._pieces[-1] if self._pieces else None
        if isinstance(last, _Segment) and last.writer.size < self._segment_bytes:
            return last
        path = self._own_folder() / f"{self._serial:08d}.spool"
        segment = _Segment(path, SegmentWriter(path), path.open("rb"))
        self._serial += 1
        self._pieces.append(segment)
        return segment

    def _write(self, record: bytes) -> None:
        segment = self._segment()
        try:
            self._bytes += segment.writer.append(record)
        except OSError:
            if not segment.waiting:
                self._remove(segment)
            raise
        segment.waiting += 1

    def _hold(self, name: str, doc: Mapping[str, Any]) -> None:
        last = self._pieces[-1] if self._pieces else None
        if isinstance(last, deque):
            last.append((name, doc))
        else:
            self._pieces.append(deque([(name, doc)]))

    def _own_folder(self) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=self._parent))
            self._mark = (self._folder / LOCK).open("wb")
            flock(self._mark)
        return self._folder

    # -- reading, under the lock -------------------------------------------------------------

    def _next(self, segment: _Segment) -> bytes:
        record = read_record(segment.reader)
        if record is None or not record.intact:
            raise OSError("a record is not what was written")
        segment.read += record.size
        self._bytes -= record.size
        return record.message

    def _remove(self, segment: _Segment) -> None:
        self._bytes -= segment.writer.size - segment.read
        segment.close()
        segment.path.unlink(missing_ok=True)
        self._pieces.remove(segment)


def remove_stale(parent: Path) -> list[Path]:
    """Remove the spool folders in `parent` whose process has died; return them.

    A living process holds a lock on a file in its folder, which ends with it.
    """
    gone: list[Path] = []
    for folder in parent.glob(f"{PREFIX}*"):
        try:
            with (folder / LOCK).open("rb") as mark:
                if not flock(mark):
                    continue
                shutil.rmtree(folder)
        except OSError:  # somebody else's, or gone already
            continue
        _log.info("removed %s, left by a process that was killed", folder)
        gone.append(folder)
    return gone
