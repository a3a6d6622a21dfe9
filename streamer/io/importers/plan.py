"""Plan of an import: what an importer found, before any pixel is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from numpy.typing import NDArray

from ...core.frames import Role
from ...errors import ImportDataError

Frames: TypeAlias = list[tuple[Path, Callable[[], NDArray[Any]]]]
KEV_BELOW = 1000.0  # numbers without unit: no microscope works below 1000 eV or above 1000 keV
_IN_NAME = re.compile(r"(\d+(?:\.\d+)?)_?(k?eV)", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """One exposure that becomes one event.

    Attributes
    ----------
    energy : eV, None if nothing tells it.
    exposure : s, None if nothing tells it.
    time : s since the epoch.
    source : file it comes from.
    read : returns the pixels (H, W); raises ImportDataError if they cannot be had.
    """

    role: Role
    energy: float | None
    exposure: float | None
    time: float
    source: Path
    read: Callable[[], NDArray[Any]]


class Skipped(NamedTuple):
    """Something that could not be imported, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportPlan:
    """All exposures of one run, in the order in which they become events.

    Attributes
    ----------
    importer : name in ``IMPORTERS``.
    identity : text that is the same whenever the same data are imported; the uids follow from it.
    sample : name of the sample.
    metadata : further keys for the start document.
    """

    importer: str
    identity: str
    sample: str
    shots: tuple[Exposure, ...]
    skipped: tuple[Skipped, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """Account of an import.

    Attributes
    ----------
    run : uid of the run.
    files : files that gave at least one image.
    images : images written, by stream.
    energies : number of different energies of the sample images.
    skipped : what was left out, with the reasons.
    output : the recording.
    """

    importer: str
    run: str
    files: int
    images: Mapping[str, int]
    energies: int
    skipped: tuple[Skipped, ...]
    output: Path


def scheduled(
    frames: Mapping[Role, Frames],
    energies: Sequence[float],
    *,
    exposures: Mapping[Role, float | None],
    start: float,
    period: float,
) -> tuple[Exposure, ...]:
    """Return darks, then per energy the sample images and its flats.

    Flats whose number does not fit the energies belong to no energy and come before the sample.

    Parameters
    ----------
    frames : source and reader of every image, by role, sample images by energy.
    energies : eV; empty for a series without known energies.
    exposures : s, by role.
    start : time of the first image, s since the epoch.
    period : time from one image to the next, s.

    Raises
    ------
    ImportDataError
        If the number of sample images is no multiple of the number of energies.
    """
    sample, flats = frames[Role.SAMPLE], frames[Role.FLAT]
    steps: list[float | None] = list(energies) or [None]
    repeats = _repeats(len(sample), len(steps))
    per_energy = len(flats) // len(steps) if len(flats) % len(steps) == 0 else 0
    order = [(Role.DARK, None, frame) for frame in frames[Role.DARK]]
    if not per_energy:
        order += [(Role.FLAT, None, frame) for frame in flats]
    for index, energy in enumerate(steps):
        for role, found, count in ((Role.SAMPLE, sample, repeats), (Role.FLAT, flats, per_energy)):
            mine = found[index * count : (index + 1) * count]
            order += [(role, energy, frame) for frame in mine]
    return tuple(
        Exposure(
            role=role,
            energy=energy,
            exposure=exposures.get(role),
            time=start + number * period,
            source=source,
            read=read,
        )
        for number, (role, energy, (source, read)) in enumerate(order)
    )


def _repeats(images: int, energies: int) -> int:
    if images % energies:
        raise ImportDataError(
            f"{images} sample images do not fit {energies} energies; wanted a multiple. Give the "
            "list of energies that belongs to these images"
        )
    return images // energies


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
