"""Read a recording from wherever it lies: a file, a folder, a run in a Tiled server."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from ...errors import RecordingError
from ..journal.reader import JournalReader
from ..journal.segments import JournalFolder
from .dialects import Recorded, Report, read_file
from .tiled_run import read_tiled_run
from .writer import ARRIVALS_SUFFIX

log = logging.getLogger(__name__)

_AT_ONCE = 64
_BYTES_AT_ONCE = 64 << 20
_SUFFIXES = frozenset({".msgpack", ".jsonl", ".json", ".ndjson", ".json-seq"})


def read_documents(source: str | Path, *, report: Report = log.warning) -> Iterator[Recorded]:
    """Yield the documents of a recording.

    Parameters
    ----------
    source : a file (the dialect is told from its content), a folder (its recordings in order of
        their names, or a journal), or the ``http(s)://`` address of a run in Tiled.
    report : takes a sentence for everything that could not be read: a document cut off by a crash,
        a damaged line, an unreadable file of a folder.

    Raises
    ------
    RecordingError
        Nothing can be read there: no such file, no recording, no recording in the folder.
    """
    text = str(source)
    if text.startswith(("http://", "https://")):
        yield from read_tiled_run(text)
        return
    path = Path(text.removeprefix("file://"))
    if path.is_dir():
        yield from _read_folder(path, report)
    elif path.is_file():
        yield from read_file(path, report)
    else:
        raise RecordingError(f"no recording at {path}: no such file or folder")


def list_recordings(folder: Path) -> list[Path]:
    """Return the files of a folder that look like recordings, in order of their names."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and path.suffix in _SUFFIXES and path.suffix != ARRIVALS_SUFFIX
    )


def _read_journal(folder: Path) -> Iterator[Recorded]:
    """Yield all that a journal holds, as far as it has been written."""
    reader = JournalReader(JournalFolder(folder))
    try:
        while items := reader.read(_AT_ONCE, _BYTES_AT_ONCE):
            for _, item in items:
                yield Recorded(item.name, item.doc, item.received_at)
    finally:
        reader.close()


def _read_folder(folder: Path, report: Report) -> Iterator[Recorded]:
    if JournalFolder(folder).segments():
        yield from _read_journal(folder)
        return
    readable = 0
    for path in list_recordings(folder):
        try:
            yield from read_file(path, report)
        except RecordingError as error:
            report(str(error))
        else:
            readable += 1
    if not readable:
        known = " ".join(sorted(_SUFFIXES))
        raise RecordingError(f"no recording in the folder {folder}: looked for files in {known}")
