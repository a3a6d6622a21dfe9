"""Read a recording from wherever it lies: a file, a folder, a run in a Tiled server."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ...errors import RecordingError
from ..journal.reader import JournalReader
from ..journal.segments import JournalFolder
from ..redact import redacted
from ..tiled.key import without_key
from .dialects import Recorded, Report, read_file
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


_EXPORTER = (
    "media_types: {BlueskyRun: {application/json-seq: "
    '"bluesky_tiled_plugins.exporters:json_seq_exporter"}}'
)


def read_tiled_run(uri: str) -> Iterator[Recorded]:
    """Yield the documents of the run at a Tiled address.

    The server makes the documents anew from what it stored: events get new uids, and images that
    are not in external files come as lists of numbers.

    Parameters
    ----------
    uri : address of the run, such as ``http://host:8000/api/v1/metadata/raw/<uid>``; an
        ``api_key`` may be among its parameters.

    Raises
    ------
    RecordingError
        The server does not answer, the address is no run, or the server cannot export documents.
    """
    with tiled_run(uri) as run:
        yield from _documents(run, without_key(uri))


@contextmanager
def tiled_run(uri: str) -> Iterator[Any]:
    """Give the client of the node at an address.

    Raises
    ------
    RecordingError
        The server cannot be reached, does not let us in, or has no such node.
    """
    # Tiled costs a second to import: only who reads from it pays
    from ..tiled.connection import opened

    with ExitStack() as stack:
        try:
            node = stack.enter_context(opened(uri))
        except Exception as error:
            raise RecordingError(f"cannot open {without_key(uri)}: {cleaned(error)}") from error
        yield node


def _documents(run: Any, shown: str) -> Iterator[Recorded]:
    if not hasattr(run, "documents"):
        raise RecordingError(
            f"{shown} is no BlueskyRun: give the address of a run, ending in its uid"
        )
    documents = run.documents()
    while True:
        try:
            name, doc = next(documents)
        except StopIteration:
            return
        except Exception as error:
            raise RecordingError(_why(shown, error)) from error
        yield Recorded(str(name), doc)


def _why(shown: str, error: Exception) -> str:
    response = getattr(error, "response", None)
    if getattr(response, "status_code", None) == 406:
        return (
            f"the server of {shown} cannot export documents: add to its configuration {_EXPORTER}"
        )
    return f"cannot read the documents of {shown}: {cleaned(error)}"


def cleaned(error: Exception) -> str:
    """Put an error in words, without a key."""
    return redacted(f"{type(error).__name__}: {without_key(str(error))}")
