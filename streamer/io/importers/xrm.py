"""Folders of Xradia .xrm files as SSRL 6-2c writes them; single .txrm stacks too."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import olefile
from numpy.typing import NDArray

from ...core.frames import Role
from ...errors import ImportDataError
from .plan import Exposure, ImportPlan, Skipped, energy_in_name, to_ev

_SUFFIXES = (".xrm", ".txrm")
_FLAT = re.compile(r"(^|[_\-. ])(ref|flat|bkg)([_\-. ]|$)", re.IGNORECASE)
_DARK = re.compile(r"(^|[_\-. ])dark([_\-. ]|$)", re.IGNORECASE)
_REPETITION = re.compile(r"(?:^|_)rep(\d+)", re.IGNORECASE)
_SCAN = re.compile(r"(?:^rep\d+_)?(?:\d+_)?(?:ref_)?(.*?)_?\d+(?:\.\d+)?_?k?eV", re.IGNORECASE)
_DTYPES = {5: np.dtype("<u2"), 10: np.dtype("<f4")}


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
        shots: list[tuple[tuple[object, ...], Exposure]] = []
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


def _shots(header: XrmHeader, root: Path) -> list[tuple[tuple[object, ...], Exposure]]:
    """Return the exposures of a file, each with what it is sorted by."""
    role = _role(header.path, root)
    found = _REPETITION.search(header.path.stem)
    repetition = int(found[1]) if found else 0
    told = energy_in_name(header.path.name)
    made = []
    for index in range(header.n_images):
        stored = header.energies[index]
        energy = to_ev([stored])[0] if stored > 0 else told
        shot = Exposure(
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


def _scan_name(shots: tuple[Exposure, ...]) -> str:
    """Return what the beamline called the scan, from the name of the first sample file."""
    first = next(shot for shot in shots if shot.role is Role.SAMPLE)
    found = _SCAN.match(first.source.stem)
    return found[1].strip("_") if found else ""


# One Xradia .xrm or .txrm file: an OLE2 compound file with a stream per value and per image.


@dataclass(frozen=True, slots=True, kw_only=True)
class XrmHeader:
    """Header of a file, about its images.

    Attributes
    ----------
    shape : (H, W), px.
    energies : one per image, 0 where the beamline did not store it; eV or keV.
    exposures : one per image, s, 0 where not stored.
    time : s since the epoch; the file names no time zone, so it is read as UTC.
    pixel_size : um, None if not stored.
    """

    path: Path
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    n_images: int
    energies: tuple[float, ...]
    exposures: tuple[float, ...]
    time: float | None
    pixel_size: float | None


def read_header(path: Path) -> XrmHeader:
    """Read the header of a file.

    Raises
    ------
    ImportDataError
        If it is no OLE file, lacks what an image needs, or is too short for its pixels.
    """
    with _opened(path) as ole:
        width = _numbers(ole, path, "ImageInfo/ImageWidth", "<u4")
        height = _numbers(ole, path, "ImageInfo/ImageHeight", "<u4")
        code = _numbers(ole, path, "ImageInfo/DataType", "<u4")
        if not (len(width) and len(height) and len(code)):
            raise ImportDataError(f"{path.name}: the header has no image size")
        dtype = _DTYPES.get(int(code[0]))
        if dtype is None:
            raise ImportDataError(
                f"{path.name}: data type {int(code[0])} is not known; wanted 5 (uint16) or "
                "10 (float32)"
            )
        shape = (int(height[0]), int(width[0]))
        count = _numbers(ole, path, "ImageInfo/NoOfImages", "<u4")
        n_images = int(count[0]) if len(count) else 1
        if not ole.exists("ImageData1/Image1"):
            raise ImportDataError(f"{path.name}: truncated, it has no image data")
        wanted = n_images * shape[0] * shape[1] * dtype.itemsize
        size = path.stat().st_size
        if size < wanted:
            raise ImportDataError(
                f"{path.name}: truncated, {size} bytes cannot hold {wanted} bytes of pixels"
            )
        pixel_size = _numbers(ole, path, "ImageInfo/PixelSize", "<f4")
        return XrmHeader(
            path=path,
            shape=shape,
            dtype=dtype,
            n_images=n_images,
            energies=_per_image(ole, path, "ImageInfo/Energy", n_images),
            exposures=_per_image(ole, path, "ImageInfo/ExpTimes", n_images),
            time=_date(ole, path),
            pixel_size=float(pixel_size[0]) if len(pixel_size) else None,
        )


def read_image(header: XrmHeader, index: int) -> NDArray[Any]:
    """Read the pixels (H, W) of the 0-based image `index`.

    Raises
    ------
    ImportDataError
        If the file holds fewer pixels than its header promises.
    """
    name = f"ImageData{index // 100 + 1}/Image{index + 1}"
    with _opened(header.path) as ole:
        raw = _stream(ole, header.path, name)
    wanted = header.shape[0] * header.shape[1] * header.dtype.itemsize
    if len(raw) < wanted:
        raise ImportDataError(
            f"{header.path.name}: truncated, {name} has {len(raw)} of {wanted} bytes"
        )
    return np.frombuffer(raw[:wanted], header.dtype).reshape(header.shape)


def _opened(path: Path) -> olefile.OleFileIO:
    try:
        return olefile.OleFileIO(str(path))
    except (OSError, ValueError, IndexError) as error:
        raise ImportDataError(f"{path.name}: cannot be opened as .xrm: {error}") from error


def _stream(ole: olefile.OleFileIO, path: Path, name: str) -> bytes:
    """Return the bytes of a stream, empty if there is none."""
    if not ole.exists(name):
        return b""
    try:
        return ole.openstream(name).read()
    except (OSError, ValueError, IndexError) as error:
        raise ImportDataError(f"{path.name}: damaged at {name}: {error}") from error


def _numbers(ole: olefile.OleFileIO, path: Path, name: str, dtype: str) -> NDArray[Any]:
    raw = _stream(ole, path, name)
    size = np.dtype(dtype).itemsize
    return np.frombuffer(raw[: len(raw) // size * size], dtype)


def _per_image(ole: olefile.OleFileIO, path: Path, name: str, n_images: int) -> tuple[float, ...]:
    stored = [float(value) for value in _numbers(ole, path, name, "<f4")[:n_images]]
    # float32: 0.3 s is 0.300000012 s.
    return tuple(round(value, 6) for value in stored) + (0.0,) * (n_images - len(stored))


def _date(ole: olefile.OleFileIO, path: Path) -> float | None:
    text = _stream(ole, path, "ImageInfo/Date").split(b"\0")[0].decode("ascii", "replace").strip()
    for style in ("%m/%d/%y %H:%M:%S", "%m/%d/%Y %H:%M:%S"):
        try:
            return datetime.strptime(text.split(".")[0], style).replace(tzinfo=UTC).timestamp()
        except ValueError:
            continue
    return None
