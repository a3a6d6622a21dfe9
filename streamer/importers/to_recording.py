"""From somebody's files to documents, and to a recording that replays like a live run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..frames import NamedDocument
from ..recording.writer import RecordingWriter
from .documents import Progress, Tally, documents, run_uid
from .plan import ImportReport
from .registry import detect_importer, get_importer


def import_documents(
    source: str | Path,
    importer: str | None = None,
    *,
    progress: Progress | None = None,
    **options: Any,
) -> Iterator[NamedDocument]:
    """Yield the documents of one run, lazily, one image in memory at a time.

    Parameters
    ----------
    source : file or folder.
    importer : key of ``IMPORTERS`` or a dotted path; None: found from the files.
    progress : called with (images done, images in all).
    options : of the importer.

    Raises
    ------
    ImportDataError
        If there is nothing to import. Single bad files are skipped.
    """
    made = get_importer(importer or detect_importer(source), **options)
    yield from documents(made.scan(Path(source)), progress=progress)


def import_to_recording(
    source: str | Path,
    output: str | Path,
    importer: str | None = None,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> ImportReport:
    """Write files as a recording; the same files give the same bytes.

    Parameters
    ----------
    source, importer, progress, options : see ``import_documents``.
    output : the recording (``.msgpack``) or a folder for it.
    overwrite : replace an existing recording.

    Returns
    -------
    ImportReport
        What was read, and what was skipped for which reason.

    Raises
    ------
    ImportDataError
        If there is nothing to import.
    RecordingError
        If the recording exists or cannot be written.
    """
    name = importer or detect_importer(source)
    plan = get_importer(name, **options).scan(Path(source))
    uid, tally = run_uid(plan), Tally()
    with RecordingWriter(output, overwrite=overwrite) as writer:
        for kind, doc in documents(plan, tally=tally, progress=progress):
            writer.write(kind, doc, received_at=doc.get("time"))
        path = writer.paths[uid]
    return ImportReport(
        importer=name,
        run=uid,
        files=len(tally.files),
        images=dict(tally.images),
        energies=len(tally.energies),
        skipped=tuple(tally.skipped),
        output=path,
    )
