"""TIFF stacks, or folders of single TIFF images, with a list of energies."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from ...core.frames import Role
from ...errors import ImportDataError
from .plan import Frames, ImportPlan, Skipped, energy_in_name, read_energies, scheduled

_SUFFIXES = (".tif", ".tiff")

# What tifffile raises for damaged files, besides its own error.
_DAMAGE = (OSError, ValueError, LookupError, RuntimeError, TypeError, struct.error)

_WORDS = {
    Role.FLAT: re.compile(r"(^|[_\-. ])(flats?|ref|references?|bkg|white)([_\-. ]|$)", re.I),
    Role.DARK: re.compile(r"(^|[_\-. ])darks?([_\-. ]|$)", re.I),
}

_ENERGIES = re.compile(r"^(energies|energy|eng_list).*\.(txt|csv|dat)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class TiffImporter:
    """Reads TIFF images.

    Attributes
    ----------
    energies : text or CSV file, eV or keV, one energy per image (or per group of repeats); None:
        ``energies.txt``/``.csv`` beside the images, else from the file names, else unknown.
    flat, dark : stack or folder; None: files or folders with ``flat`` or ``dark`` as a word of
        their name beside the images.
    exposure, flat_exposure : s per image.
    period : time between images, s; the images carry no time that can be relied on.
    start_time : s since the epoch.
    sample : name of the sample; None: the name of the file or folder.
    """

    energies: Path | str | None = None
    flat: Path | str | None = None
    dark: Path | str | None = None
    exposure: float | None = None
    flat_exposure: float | None = None
    period: float = 1.0
    start_time: float = 0.0
    sample: str | None = None

    def claims(self, path: Path) -> bool:
        """Tell whether there is a TIFF image."""
        if path.is_file():
            return path.suffix.lower() in _SUFFIXES
        return any(file.suffix.lower() in _SUFFIXES for file in path.rglob("*"))

    def scan(self, path: Path) -> ImportPlan:
        """List the pages of all files.

        Raises
        ------
        ImportDataError
            If there is no sample image, or the number of images does not fit the energies.
        """
        skipped: list[Skipped] = []
        root = path if path.is_dir() else path.parent
        # Beside a single stack only files that are named after a role belong to it.
        mine = [path] if path.is_file() else _images(path)
        beside = [path, *(f for f in _images(root) if _role(f, root) is not Role.SAMPLE)]
        files = {role: [] for role in Role}
        for file in mine if path.is_dir() else beside:
            role = Role.SAMPLE if file == path else _role(file, root)
            files[role].append(file)
        for role, given in ((Role.FLAT, self.flat), (Role.DARK, self.dark)):
            if given is not None:
                files[role] = _images(Path(given))
                files[Role.SAMPLE] = [f for f in files[Role.SAMPLE] if f not in files[role]]
        frames = {role: _frames(files[role], skipped) for role in Role}
        if not frames[Role.SAMPLE]:
            reasons = "; ".join(entry.reason for entry in skipped[:3]) or "no TIFF file"
            raise ImportDataError(f"{path} has no usable sample image: {reasons}")
        shots = scheduled(
            frames,
            self._energies(path, frames[Role.SAMPLE]),
            exposures={Role.SAMPLE: self.exposure, Role.FLAT: self.flat_exposure or self.exposure},
            start=self.start_time,
            period=self.period,
        )
        return ImportPlan(
            importer="tiff",
            identity="|".join(f"{shot.source.name}:{shot.energy}" for shot in shots),
            sample=self.sample or path.stem,
            shots=shots,
            skipped=tuple(skipped),
        )

    def _energies(self, path: Path, sample: Frames) -> tuple[float, ...]:
        if self.energies is not None:
            return read_energies(Path(self.energies))
        root = path if path.is_dir() else path.parent
        beside = sorted(f for f in root.iterdir() if _ENERGIES.match(f.name))
        if beside:
            return read_energies(beside[0])
        told = [energy_in_name(source.name) for source, _ in sample]
        known = [energy for energy in told if energy is not None]
        return tuple(known) if len(known) == len(told) and len(set(told)) > 1 else ()


def _images(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    found = [f for f in path.rglob("*") if f.suffix.lower() in _SUFFIXES and f.is_file()]
    return sorted(found, key=lambda file: _natural(str(file.relative_to(path))))


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sort image 10 after image 9, whatever the padding."""
    parts = re.split(r"(\d+)", name.lower())
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]


def _role(file: Path, root: Path) -> Role:
    folder = file.parent.name if file.parent != root else ""
    for role, pattern in _WORDS.items():
        if pattern.search(file.stem) or pattern.search(folder):
            return role
    return Role.SAMPLE


def _frames(files: Sequence[Path], skipped: list[Skipped]) -> Frames:
    """Return source and reader of every page."""
    made: Frames = []
    for file in files:
        try:
            with tifffile.TiffFile(file) as tiff:
                shape = tiff.series[0].shape if tiff.series else ()
        except _DAMAGE as error:
            skipped.append(Skipped(path=file, reason=f"{file.name}: no readable TIFF: {error}"))
            continue
        if len(shape) not in (2, 3) or (len(shape) == 3 and shape[-1] in (3, 4)):
            reason = f"{file.name}: wanted grey images (H, W) or (n, H, W), got {shape}"
            skipped.append(Skipped(path=file, reason=reason))
            continue
        count = shape[0] if len(shape) == 3 else 1
        made += [(file, partial(_read, file, index)) for index in range(count)]
    return made


def _read(file: Path, index: int) -> NDArray[Any]:
    try:
        with tifffile.TiffFile(file) as tiff:
            paged = index < len(tiff.pages)
            image = tiff.pages[index].asarray() if paged else None
        # ImageJ describes a long stack by its first page alone.
        image = np.array(tifffile.memmap(file, mode="r")[index]) if image is None else image
    except _DAMAGE as error:
        raise ImportDataError(f"{file.name}: image {index} cannot be read: {error}") from error
    return image if image.dtype.kind in "ui" and image.itemsize <= 2 else image.astype(np.float32)
