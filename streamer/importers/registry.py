"""The importers by name, and which of them fits a path."""

from __future__ import annotations

from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Protocol

from ..errors import ImportDataError
from .plan import ImportPlan


class Importer(Protocol):
    """Understands one kind of data."""

    def claims(self, path: Path) -> bool:
        """Tell, without reading pixels, whether `path` looks like this kind of data."""
        ...

    def scan(self, path: Path) -> ImportPlan:
        """List the exposures; raises ImportDataError if there is no usable sample image."""
        ...


IMPORTERS: dict[str, str] = {
    "xrm": "operando.streamer.importers.xrm:XrmImporter",
    "fxi": "operando.streamer.importers.fxi:FxiImporter",
    "tiff": "operando.streamer.importers.tiff:TiffImporter",
}


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
