"""Photon energies out of names, text files and numbers of unknown unit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ..errors import ImportDataError

KEV_BELOW = 1000.0
_IN_NAME = re.compile(r"(\d+(?:\.\d+)?)_?(k?eV)", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?$")


def energy_in_name(name: str) -> float | None:
    """Return the energy, eV, that a file name tells (``..._08324.0_eV_...``), None if none."""
    found = _IN_NAME.search(name)
    if found is None:
        return None
    return float(found[1]) * (1000.0 if found[2].lower() == "kev" else 1.0)


def to_ev(values: Sequence[float]) -> tuple[float, ...]:
    """Return energies in eV; a list that stays below 1000 is taken for keV as a whole."""
    scale = 1000.0 if values and max(values) < KEV_BELOW else 1.0
    # 8.333 * 1000 must be 8333, or flats and frames of different files would not meet.
    return tuple(round(float(value) * scale, 6) for value in values)


def read_energies(path: Path) -> tuple[float, ...]:
    """Read one energy per line, eV or keV, from a text or CSV file.

    A line may hold other columns: the column headed ``energy`` (in any case, e.g. ``Energy (eV)``)
    counts, else the first. Lines that start with ``#`` are comments.

    Raises
    ------
    ImportDataError
        If the file cannot be read, or a line holds no number.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ImportDataError(f"cannot read the energies in {path}: {error}") from error
    rows = [re.split(r"[\s,;]+", line.strip()) for line in lines if _counts(line)]
    column = 0
    if rows and not _NUMBER.match(rows[0][0]):
        header = [word.lower() for word in rows.pop(0)]
        column = next((i for i, word in enumerate(header) if word.startswith("energy")), 0)
    values = []
    for row in rows:
        if len(row) <= column or not _NUMBER.match(row[column]):
            raise ImportDataError(f"{path}: wanted an energy, got {' '.join(row)[:60]!r}")
        values.append(float(row[column]))
    if not values:
        raise ImportDataError(f"{path} holds no energies")
    return to_ev(values)


def _counts(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")
