"""Interface of the readers of file formats, and the bounds that all of them keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...errors import AssetError, AssetMissing, ConfigError
from .settings import AssetSettings, allowed, local_path

_HDF5 = "operando.streamer.io.assets.hdf5:Hdf5Reader"
_TIFF = "operando.streamer.io.assets.sequences:TiffReader"
_NPY = "operando.streamer.io.assets.sequences:NpyReader"
ASSET_READERS: dict[str, str] = {
    "application/x-hdf5": _HDF5,
    "AD_HDF5": _HDF5,
    "AD_HDF5_SINGLE": _HDF5,
    "AD_HDF5_SWMR": _HDF5,
    "AD_HDF5_SWMR_SLICE": _HDF5,
    "AD_HDF5_SWMR_STREAM": _HDF5,
    "HDF5": _HDF5,
    "image/tiff": _TIFF,
    "multipart/related;type=image/tiff": _TIFF,
    "AD_TIFF": _TIFF,
    "application/x-npy": _NPY,
    "multipart/related;type=application/x-npy": _NPY,
    "NPY_SEQ": "operando.streamer.io.assets.sequences:NpySeqReader",
}


class AssetReader(Protocol):
    """Images of one resource. Built with `(uri, parameters, gate)`; opens nothing before `read`."""

    def __init__(self, uri: str, parameters: Mapping[str, Any], gate: Gate) -> None: ...

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Read (n, H, W) images `start`..`stop`; try once and never wait.

        Raises
        ------
        AssetNotReady, AssetLocked, AssetMissing
            If it may work later.
        AssetForbidden, AssetError
            If it will not.
        """
        ...

    def close(self) -> None:
        """Let go of all files; `read` opens them again."""
        ...


@dataclass(frozen=True, slots=True)
class Gate:
    """Gate before files: which may be opened, and how much may be read from them."""

    settings: AssetSettings

    def locate(self, uri: str) -> Path:
        """Return the file of a URI; raises `AssetForbidden` outside the allowed roots."""
        return local_path(uri, self.settings)

    def check(self, path: Path) -> Path:
        """Return a file that another file refers to; raises `AssetForbidden` as above."""
        return allowed(path, self.settings)

    def admit(self, count: int, shape: tuple[int, ...], dtype: np.dtype[Any], path: Path) -> None:
        """Refuse images that are too large, or no numbers, before they are read.

        Raises
        ------
        AssetError
            If `count` images of `shape` would exceed the bounds.
        """
        if dtype.kind not in "biuf":
            raise AssetError(f"{path}: pixels should be real numbers, got dtype {dtype}")
        size = prod(shape) * dtype.itemsize
        if size == 0:
            raise AssetError(f"{path}: images of shape {shape} hold nothing")
        if size > self.settings.max_frame_bytes:
            raise AssetError(
                f"{path}: an image of {size} bytes {shape} exceeds assets.max_frame_bytes "
                f"({self.settings.max_frame_bytes})"
            )
        if size * count > self.settings.max_chunk_bytes:
            raise AssetError(
                f"{path}: {count} images of {size} bytes exceed assets.max_chunk_bytes "
                f"({self.settings.max_chunk_bytes})"
            )


def existing(path: Path) -> Path:
    """Return `path` if it is a regular file that holds something.

    Raises
    ------
    AssetMissing
        If it is not there (yet), is empty, or is no regular file: opening a pipe would wait for
        ever.
    """
    try:
        regular = path.is_file()
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        raise AssetMissing(f"{str(path)[:200]}: no such file: {error.strerror}") from error
    if not regular:
        raise AssetMissing(f"{path}: no such file; assets.path_map translates folders")
    if path.stat().st_size == 0:
        raise AssetMissing(f"{path}: the file is still empty")
    return path


def reader_class(kind: str, extra: Mapping[str, str]) -> type[AssetReader]:
    """Return the reader for a mimetype or spec; `extra` goes before the built-in ones.

    Raises
    ------
    AssetError
        If there is none.
    ConfigError
        If the import string of one leads nowhere.
    """
    name = extra.get(kind) or ASSET_READERS.get(kind)
    if name is None:
        raise AssetError(
            f"no reader for images of kind {kind[:60]!r}; known are "
            f"{', '.join(sorted({*ASSET_READERS, *extra}))}; assets.readers takes others"
        )
    try:
        return resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"assets.readers: {kind!r} -> {name!r} leads nowhere: {error}") from error
