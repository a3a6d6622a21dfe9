"""Images in TIFF and NPY files, one file per image or per event, or all in one file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from ..errors import AssetError, AssetForbidden, AssetNotReady
from .reader import Gate, existing
from .templates import frames_per_file, pieces, sequence_uri


class SequenceReader(ABC):
    """Files of a sequence, opened one by one and not kept open.

    Parameters
    ----------
    uri : of the folder or beginning of the names; without a `template`, of the only file.
    parameters : `template`, `filename`, `chunk_shape`, `frame_per_point`, ...
    gate : bounds on what may be opened.
    """

    def __init__(self, uri: str, parameters: Mapping[str, Any], gate: Gate) -> None:
        self._uri = uri
        self._parameters = parameters
        self._gate = gate

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """(n, H, W) images `start`..`stop`, see `AssetReader.read`."""
        if not self._parameters.get("template"):
            return self._file(self._uri, start, stop)
        parts = [
            self._file(sequence_uri(self._uri, self._parameters, f), first, last)
            for f, first, last in pieces(start, stop, frames_per_file(self._parameters))
        ]
        return _joined(parts)

    def close(self) -> None:
        """Do nothing: no file is kept open."""
        return

    def _file(self, uri: str, first: int, last: int | None) -> NDArray[Any]:
        path = self._gate.locate(uri)
        with _translated(existing(path)):
            return self.load(path, first, last)

    @abstractmethod
    def load(self, path: Path, first: int, last: int | None) -> NDArray[Any]:
        """(n, H, W) images `first`..`last` (None: all) of one file, after `Gate.admit`."""


class TiffReader(SequenceReader):
    """TIFF files; the images of a file are its pages."""

    def load(self, path: Path, first: int, last: int | None) -> NDArray[Any]:
        """Pages `first`..`last` of one file."""
        with tifffile.TiffFile(path) as file:
            last = len(file.pages) if last is None else last
            if len(file.pages) < last:
                raise AssetNotReady(f"{path}: holds {len(file.pages)} pages, not {last} (yet)")
            page = file.pages[first]
            if page.dtype is None:
                raise AssetError(f"{path}: page {first} has no known dtype")
            self._gate.admit(last - first, page.shape, page.dtype, path)
            images = file.asarray(key=range(first, last))
        return _stack(images, path)


class NpyReader(SequenceReader):
    """NPY files with (H, W) or (n, H, W)."""

    def load(self, path: Path, first: int, last: int | None) -> NDArray[Any]:
        """Images `first`..`last` of one file."""
        # Mapping reads the header only, so that the size is known before any pixel is read.
        # It reads nothing but NPY, where np.load would also open archives; and no objects.
        images = _stack(np.lib.format.open_memmap(path, mode="r"), path)
        last = len(images) if last is None else last
        if len(images) < last:
            raise AssetNotReady(f"{path}: holds {len(images)} images, not {last} (yet)")
        self._gate.admit(last - first, images.shape[1:], images.dtype, path)
        return np.array(images[first:last])


class NpySeqReader(NpyReader):
    """NPY_SEQ of ophyd.sim: file ``<path>_<index>.npy`` holds all that an event brought."""

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """(n, H, W) images of the files `start`..`stop`."""
        return _joined([self._file(f"{self._uri}_{i}.npy", 0, None) for i in range(start, stop)])


def _stack(images: NDArray[Any], path: Path) -> NDArray[Any]:
    """(n, H, W) of one image or a stack."""
    if images.ndim == 2:
        return images[np.newaxis]
    if images.ndim == 3:
        return images
    raise AssetError(f"{path}: should hold (H, W) or (n, H, W), got {images.shape}")


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    if len({part.shape[1:] for part in parts}) > 1:
        raise AssetError(f"files of one event differ in shape: {[p.shape for p in parts]}")
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn the errors of a file that is half written or broken into ours."""
    try:
        yield
    except PermissionError as error:
        raise AssetForbidden(f"{path}: this user may not read the file") from error
    except AssetError:
        raise
    except Exception as error:  # parsers that meet garbage raise whatever they like
        raise AssetNotReady(f"{path}: cannot be read (yet): {error}") from error
