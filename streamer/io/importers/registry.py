"""The importers by name, and which of them fits a path."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Protocol

from ...core.frames import NamedDocument
from ...errors import ImportDataError
from ..recording.writer import RecordingWriter
from .documents import Progress, Tally, documents, run_uid
from .plan import ImportPlan, ImportReport

IMPORTERS: dict[str, str] = {
    "xrm": "operando.streamer.io.importers.xrm:XrmImporter",
    "fxi": "operando.streamer.io.importers.fxi:FxiImporter",
    "tiff": "operando.streamer.io.importers.tiff:TiffImporter",
}


class Importer(Protocol):
    """Understands one kind of data."""

    def claims(self, path: Path) -> bool:
        """Tell, without reading pixels, whether `path` looks like this kind of data."""
        ...

    def scan(self, path: Path) -> ImportPlan:
        """List the exposures; raises ImportDataError if there is no usable sample image."""
        ...


def get_importer(name: str, **options: Any) -> Importer:
    """Make an importer.

    Parameters
    ----------
    name : key of ``IMPORTERS``, or a dotted path ``package.module:Class``.
    options : its keyword arguments, e.g. ``energies=Path("energies.csv")`` for TIFF.

    Raises
    ------
    ImportDataError
        For an unknown name, or an option that it does not have.
    """
    target = IMPORTERS.get(name, name)
    if ":" not in target:
        raise ImportDataError(f"no importer {name!r}; choose one of {', '.join(sorted(IMPORTERS))}")
    try:
        return resolve_name(target)(**options)
    except (ImportError, AttributeError, TypeError) as error:
        raise ImportDataError(f"importer {name!r} cannot be used: {error}") from error


def detect_importer(path: str | Path) -> str:
    """Return the name of the importer that fits a file or folder.

    Raises
    ------
    ImportDataError
        If the path does not exist, or none fits.
    """
    path = Path(path)
    if not path.exists():
        raise ImportDataError(f"{path} does not exist")
    for name in IMPORTERS:
        if get_importer(name).claims(path):
            return name
    raise ImportDataError(
        f"{path} holds nothing that can be imported; wanted .xrm/.txrm files, TIFF images or an "
        "FXI HDF5 file with img_xanes"
    )


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
