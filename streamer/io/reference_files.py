"""Reads the reference spectra that a profile names."""

from __future__ import annotations

import gzip
from pathlib import Path

from ..core.xanes import PhaseReference, XanesSettings, make_reference
from ..core.xanes.formats import Spectrum, parse_athena_project, parse_columns
from ..errors import ConfigError

_GZIP = b"\x1f\x8b"

_MOST_BYTES = 50_000_000  # by eye: a hundred times a large Athena project


def load_references(settings: XanesSettings) -> tuple[PhaseReference, ...]:
    """Read the reduced and the oxidised phase; nothing if the settings name no files.

    Raises
    ------
    ConfigError
        A file cannot be read, or holds no spectrum with an edge.
    """
    if settings.references is None or not settings.enabled:
        return ()
    named = settings.references.model_dump()
    return tuple(
        make_reference(phase, *read_spectrum(Path(settings.folder) / named[phase]), settings)
        for phase in ("reduced", "oxidised")
    )


def read_spectrum(path: str | Path) -> Spectrum:
    """Read energies, eV, and absorption from a file.

    Parameters
    ----------
    path : XDI, text columns, an Athena export, or an Athena project, ``file.prj#label``.

    Raises
    ------
    ConfigError
        The file cannot be read, or holds no spectrum.
    """
    name, _, label = str(path).partition("#")
    try:
        with Path(name).open("rb") as file:
            content = file.read(_MOST_BYTES)
        if content.startswith(_GZIP):
            content = gzip.decompress(content)
        text = content.decode("utf-8", errors="replace")
        project = name.endswith(".prj")
        return parse_athena_project(text, label) if project else parse_columns(text)
    except (OSError, EOFError, ConfigError) as error:
        raise ConfigError(f"reference spectrum {name}: {error}") from error
