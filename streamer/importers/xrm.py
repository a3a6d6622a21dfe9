"""Folders of Xradia .xrm files as SSRL 6-2c writes them; single .txrm stacks too."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..errors import ImportDataError
from ..frames import Role
from .energies import energy_in_name, to_ev
from .plan import ImportPlan, Shot, Skipped
from .xrm_file import XrmHeader, read_header, read_image

_SUFFIXES = (".xrm", ".txrm")
_FLAT = re.compile(r"(^|[_\-. ])(ref|flat|bkg)([_\-. ]|$)", re.IGNORECASE)
_DARK = re.compile(r"(^|[_\-. ])dark([_\-. ]|$)", re.IGNORECASE)
_REPETITION = re.compile(r"(?:^|_)rep(\d+)", re.IGNORECASE)
_SCAN = re.compile(r"(?:^rep\d+_)?(?:\d+_)?(?:ref_)?(.*?)_?\d+(?:\.\d+)?_?k?eV", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class XrmImporter:
    """Reads a tree of .xrm files.

    A file with ``ref`` (or ``flat``, ``dark``) as a word of its name or its folder is no sample.
    The energy comes from the header, or from the name where the header says 0. Events come by
    repetition (``rep01``) and energy: sample exposures, then the flats.

    Attributes
    ----------
    sample : name of the sample; None: from the file names.
    """

    sample: str | None = None

    def claims(self, path: Path) -> bool:
        """Tell whether there is a .xrm or .txrm file."""
        return bool(_files(path, limit=1))

    def scan(self, path: Path) -> ImportPlan:
        """Read all headers.

        Raises
        ------
        ImportDataError
            If there is no usable sample image; the first reasons are named.
        """
        shots: list[tuple[tuple[object, ...], Shot]] = []
        skipped: list[Skipped] = []
        pixel_size: float | None = None
        for file in _files(path):
            try:
                header = read_header(file)
            except ImportDataError as error:
                skipped.append(Skipped(path=file, reason=str(error)))
                continue
            pixel_size = pixel_size or header.pixel_size
            shots += _shots(header, path)
        if not any(shot.role is Role.SAMPLE for _, shot in shots):
            reasons = "; ".join(entry.reason for entry in skipped[:3]) or "no .xrm file"
            raise ImportDataError(f"{path} has no usable sample image: {reasons}")
        shots.sort(key=lambda pair: pair[0])
        ordered = tuple(shot for _, shot in shots)
        names = [f"{shot.source.name}@{shot.time}" for shot in ordered]
        metadata = {} if pixel_size is None else {"pixel_size_um": round(pixel_size, 6)}
        return ImportPlan(
            importer="xrm",
            identity="|".join(names),
            sample=self.sample or _scan_name(ordered) or path.stem,
            shots=ordered,
            skipped=tuple(skipped),
            metadata=metadata,
        )


def _files(path: Path, limit: int | None = None) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix.lower() in _SUFFIXES else []
    found = []
    for file in path.rglob("*"):
        if file.suffix.lower() in _SUFFIXES and file.is_file():
            found.append(file)
            if limit is not None and len(found) >= limit:
                break
    return sorted(found)


def _role(file: Path, root: Path) -> Role:
    folder = file.parent.name if file.parent != root else ""
    for word in (file.stem, folder):
        if _DARK.search(word):
            return Role.DARK
        if _FLAT.search(word):
            return Role.FLAT
    return Role.SAMPLE


def _shots(header: XrmHeader, root: Path) -> list[tuple[tuple[object, ...], Shot]]:
    """Return the exposures of a file, each with what it is sorted by."""
    role = _role(header.path, root)
    found = _REPETITION.search(header.path.stem)
    repetition = int(found[1]) if found else 0
    told = energy_in_name(header.path.name)
    made = []
    for index in range(header.n_images):
        stored = header.energies[index]
        energy = to_ev([stored])[0] if stored > 0 else told
        shot = Shot(
            role=role,
            energy=energy,
            exposure=header.exposures[index] or None,
            time=header.time or 0.0,
            source=header.path,
            read=partial(read_image, header, index),
        )
        # Darks hold for all energies and must be known first.
        rank = {Role.DARK: 0, Role.SAMPLE: 1, Role.FLAT: 2}[role]
        order = -1.0 if role is Role.DARK or energy is None else energy
        made.append(((repetition, order, rank, header.path.name, index), shot))
    return made


def _scan_name(shots: tuple[Shot, ...]) -> str:
    """Return what the beamline called the scan, from the name of the first sample file."""
    first = next(shot for shot in shots if shot.role is Role.SAMPLE)
    found = _SCAN.match(first.source.stem)
    return found[1].strip("_") if found else ""
