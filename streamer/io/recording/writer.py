"""Record document streams, one file per run, such that stock tools can read the files.

The layout is that of suitcase-msgpack: msgpack lists ``[name, doc]``, one after the other. Its
readers unpack exactly two elements and pass unknown names on, so there is no room in the file for
the time of arrival; that goes to a second file beside it, ``<recording>.arrivals``: one
little-endian float64 per document, s since the epoch, in the same order.

Nothing is buffered. After a crash the files are readable up to the last whole document; a time that
is missing at the end only means that this document has none.
"""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, Literal, Self

from ...core.frames import Document
from ...errors import RecordingError
from ..wire.codec import dumps
from ..wire.message import DOCUMENT_NAMES

ARRIVALS_SUFFIX = ".arrivals"
_ORPHANS = "orphans"
_REFERENCES = {
    "event": ("descriptor",),
    "event_page": ("descriptor",),
    "datum": ("resource",),
    "datum_page": ("resource",),
    "bulk_datum": ("resource",),
    "stream_datum": ("stream_resource", "descriptor"),
}


@dataclass(slots=True)
class _OpenFile:
    documents: FileIO
    arrivals: FileIO

    def close(self) -> None:
        self.documents.close()
        self.arrivals.close()


class RecordingWriter:
    """Writes every document it is called with; subscribe it like any Bluesky callback.

    Runs that interleave go to their own files, ``<UTC time>-<first 8 of the uid>.msgpack``.
    Documents of which nobody can tell the run go to ``<UTC time>-orphans.msgpack``.

    Parameters
    ----------
    target : folder to write into (made if absent), or, if it ends in ``.msgpack``, the file for the
        first run; further runs are put beside it as ``<stem>-<uid8>.msgpack``.
    overwrite : whether an existing file may be replaced.
    clock : s since the epoch, for documents that come without a time of arrival.

    Attributes
    ----------
    paths : files written so far, by uid of the run.

    Raises
    ------
    RecordingError
        The target exists already, or cannot be written.
    """

    def __init__(
        self,
        target: str | Path,
        *,
        overwrite: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.paths: dict[str, Path] = {}
        self._target = Path(target)
        self._single = self._target.suffix == ".msgpack"
        self._mode: Literal["wb", "xb"] = "wb" if overwrite else "xb"
        self._clock = clock
        self._routes = RunRoutes()
        self._open: dict[str, _OpenFile] = {}
        folder = self._target.parent if self._single else self._target
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RecordingError(f"cannot make the folder {folder}: {error}") from error
        if self._single and not overwrite and self._target.exists():
            raise RecordingError(f"{self._target} exists: name another file or allow overwriting")

    def __call__(self, name: str, doc: Document) -> None:
        """Write a document that has just arrived."""
        self.write(name, doc)

    def write(self, name: str, doc: Document, received_at: float | None = None) -> None:
        """Write a document.

        Parameters
        ----------
        name, doc : the document.
        received_at : when it arrived, s since the epoch; None: now.

        Raises
        ------
        RecordingError
            The disk refuses.
        BadMessageError
            The document has no safe encoding; nothing was written.
        """
        if name not in DOCUMENT_NAMES:
            raise RecordingError(f"{name!r} is not the name of a Bluesky document")
        record = dumps([name, doc])
        run = self._routes.run_of(name, doc) or _ORPHANS
        arrival = self._clock() if received_at is None else received_at
        try:
            file = self._open.get(run) or self._create(run, arrival)
            _append(file.documents, record)
            _append(file.arrivals, struct.pack("<d", arrival))
        except OSError as error:
            raise RecordingError(f"cannot write {self.paths.get(run, run)}: {error}") from error
        if name == "stop":
            self._routes.forget(run)
            self._open.pop(run).close()

    def close(self) -> None:
        """Close all files; a later document opens a new one."""
        while self._open:
            self._open.popitem()[1].close()

    def __enter__(self) -> Self:
        """Return itself: files are opened at the first document."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close all files."""
        self.close()

    def _create(self, run: str, arrival: float) -> _OpenFile:
        path = self._path(run, arrival)
        documents = path.open(self._mode, buffering=0)
        self.paths[run] = path
        arrivals = path.with_name(path.name + ARRIVALS_SUFFIX)
        file = _OpenFile(documents, arrivals.open("wb", buffering=0))
        self._open[run] = file
        return file

    def _path(self, run: str, arrival: float) -> Path:
        # The uid comes from the network: it must not choose the folder.
        short = re.sub(r"[^A-Za-z0-9_-]", "_", run)[:8]
        if self._single:
            stem, folder = self._target.stem, self._target.parent
            if not self.paths:
                return self._target
            wanted = f"{stem}-{short}"
        else:
            folder = self._target
            wanted = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(arrival)) + f"-{short}"
        path = folder / f"{wanted}.msgpack"
        count = 1
        while self._mode == "xb" and path.exists():
            path = folder / f"{wanted}-{count}.msgpack"
            count += 1
        return path


def _append(file: FileIO, data: bytes) -> None:
    """Write all of it or nothing, so that what follows on a disk with room again is readable."""
    begin = file.tell()
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError:
        with suppress(OSError):  # the first error is the one to tell
            file.truncate(begin)
            file.seek(begin)
        raise


class RunRoutes:
    """Follows the references between documents to the uid of their run.

    A document that names its run is believed, started or not (a late joiner sees no start). A
    resource without ``run_start``, which the schema allows, belongs to the run that is open if
    there is exactly one.
    """

    def __init__(self) -> None:
        self._run_of: dict[str, str] = {}
        self._open: dict[str, None] = {}

    def run_of(self, name: str, doc: Document) -> str | None:
        """Return the uid of the run of a document and learn from it; None if nobody knows."""
        if name == "start":
            run = self._text(doc, "uid")
        elif name in ("stop", "descriptor", "resource", "stream_resource"):
            run = self._text(doc, "run_start") or self._only_open()
        else:
            run = self._referred(name, doc)
        if run is None:
            return None
        self._open[run] = None
        uid = self._text(doc, "uid")
        if uid and name in ("descriptor", "resource", "stream_resource"):
            self._run_of[uid] = run
        return run

    def forget(self, run: str) -> None:
        """Drop what is known of a run that has stopped."""
        self._open.pop(run, None)
        self._run_of = {uid: owner for uid, owner in self._run_of.items() if owner != run}

    def _referred(self, name: str, doc: Document) -> str | None:
        if name == "bulk_events":
            keys = [self._text(event, "descriptor") for event in _bulk_events(doc)]
        else:
            keys = [self._text(doc, key) for key in _REFERENCES.get(name, ())]
        return next((self._run_of[key] for key in keys if key in self._run_of), None)

    def _only_open(self) -> str | None:
        return next(iter(self._open)) if len(self._open) == 1 else None

    @staticmethod
    def _text(doc: Mapping[str, Any], key: str) -> str | None:
        value = doc.get(key)
        return value if isinstance(value, str) and value else None


def _bulk_events(doc: Document) -> Iterator[Document]:
    for events in doc.values():
        if isinstance(events, list):
            yield from (event for event in events if isinstance(event, dict))
