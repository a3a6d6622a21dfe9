"""One Xradia .xrm or .txrm file: an OLE2 compound file with a stream per value and per image."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import olefile
from numpy.typing import NDArray

from ..errors import ImportDataError

_DTYPES = {5: np.dtype("<u2"), 10: np.dtype("<f4")}


@dataclass(frozen=True, slots=True, kw_only=True)
class XrmHeader:
    """What a file says about its images.

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
