"""HDF5 files, while their writer still appends to them (SWMR) or after.

Files are opened without a lock: a reader's lock would keep the detector's file writer from
opening its own file again (measured with HDF5 2.0: ``unable to lock file``). A writer that does not
use SWMR is noticed by the marks that it leaves in the file or, where reading fails, by its lock.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import AssetError, AssetForbidden, AssetLocked, AssetMissing, AssetNotReady
from .hdf5_links import find_dataset
from .reader import Gate, existing
from .templates import frames_per_file, pieces, sequence_uri

DEFAULT_DATASET = "/entry/data/data"
_LOCK_WORDS = ("unable to lock file", "already open for write", "not already open for swmr")
_FILTER_WORDS = ("required filter", "can't open directory", "unable to load dynamically")


class Hdf5Reader:
    """Images of a dataset (N, H, W), (N, n, H, W) or (H, W), or of a sequence of such files.

    Parameters
    ----------
    uri : of the file; with a `template`, of the folder or beginning of the names.
    parameters : `dataset` (or `path`) inside the file, and for sequences `template`, `filename`,
        `frame_per_point`.
    gate : bounds on what may be opened.
    """

    def __init__(self, uri: str, parameters: Mapping[str, Any], gate: Gate) -> None:
        self._uri = uri
        self._parameters = parameters
        self._gate = gate
        name = parameters.get("dataset") or parameters.get("path") or DEFAULT_DATASET
        self._name = str(name)
        self._path: Path | None = None
        self._files: list[h5py.File] = []
        self._dataset: h5py.Dataset | None = None

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """(n, H, W) images `start`..`stop`, see `AssetReader.read`."""
        if not self._parameters.get("template"):
            return self._read_file(self._uri, start, stop)
        size = self._frames_per_file()
        parts = [
            self._read_file(sequence_uri(self._uri, self._parameters, f), first, last)
            for f, first, last in pieces(start, stop, size)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _frames_per_file(self) -> int:
        """Images per file; an area detector in single mode writes one file per point."""
        points = self._parameters.get("frame_per_point")
        if isinstance(points, int) and points > 0:
            return points
        return frames_per_file(self._parameters)

    def close(self) -> None:
        """Close all files."""
        for file in reversed(self._files):
            file.close()
        self._files, self._dataset, self._path = [], None, None

    def _read_file(self, uri: str, start: int, stop: int) -> NDArray[Any]:
        path = self._gate.locate(uri)
        if path != self._path:
            self.close()
        try:
            with _translated(existing(path)):
                dataset = self._grown(path, stop)
                return self._images(dataset, path, start, stop)
        except AssetError:
            # What is cached of a file that could not be read is of no use for the next try.
            self.close()
            raise

    def _grown(self, path: Path, stop: int) -> h5py.Dataset:
        """Dataset that shows at least `stop` images."""
        dataset = self._dataset
        if dataset is not None and _length(dataset) < stop and dataset.file.swmr_mode:
            dataset.refresh()
        if dataset is None or _length(dataset) < stop:
            self.close()
            dataset = self._open(path)
        seen = _length(dataset)
        if seen < stop:
            raise AssetNotReady(
                f"{path}: image {stop - 1} was announced, but only {seen} are flushed; "
                "the writer should flush after every frame (SWMR)"
            )
        return dataset

    def _open(self, path: Path) -> h5py.Dataset:
        self._path = path
        dataset = find_dataset(self._open_file, path, self._name, self._gate)
        if not 2 <= dataset.ndim <= 4:
            raise AssetError(
                f"{path}: {self._name!r} should hold images (N, H, W), got {dataset.shape}"
            )
        self._dataset = dataset
        return dataset

    def _open_file(self, path: Path) -> h5py.File:
        file = _open_any_way(path)
        self._files.append(file)
        return file

    def _images(self, dataset: h5py.Dataset, path: Path, start: int, stop: int) -> NDArray[Any]:
        shape, dtype = dataset.shape[-2:], dataset.dtype
        self._gate.admit(stop - start, shape, dtype, path)
        block = prod(dataset.chunks or ()) * dtype.itemsize
        if block > self._gate.settings.max_chunk_bytes:
            raise AssetError(
                f"{path}: stored in blocks of {block} bytes, more than assets.max_chunk_bytes"
            )
        images = _slice(dataset, start, stop)
        for i, image in enumerate(images):
            if _is_blank(dataset, image) and not _is_stored(dataset, start + i):
                raise AssetNotReady(
                    f"{path}: image {start + i} was announced, but its pixels are not flushed; "
                    "the writer should flush after every frame (SWMR)"
                )
        return images


def _open_any_way(path: Path) -> h5py.File:
    """Open for reading: with SWMR, without, or together with a writer in this very process."""
    try:
        return h5py.File(path, "r", libver="latest", swmr=True, locking=False)
    except OSError as error:
        # Within one process HDF5 shares the open file, and insists on the same locking.
        if "locking flag values" in str(error):
            return h5py.File(path, "r", libver="latest")
    return h5py.File(path, "r", locking=False)


def _length(dataset: h5py.Dataset) -> int:
    """Return how many images a dataset shows."""
    return prod(dataset.shape[:-2])


def _slice(dataset: h5py.Dataset, start: int, stop: int) -> NDArray[Any]:
    """(n, H, W) images of a dataset with any number of leading axes up to two."""
    if dataset.ndim == 2:
        return np.asarray(dataset[...])[np.newaxis]
    if dataset.ndim == 3:
        return np.asarray(dataset[start:stop])
    size = dataset.shape[1]
    parts = [np.asarray(dataset[row, a:b]) for row, a, b in pieces(start, stop, size)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _is_blank(dataset: h5py.Dataset, image: NDArray[Any]) -> bool:
    fill = dataset.fillvalue
    return bool(image.flat[0] == fill) and bool((image == fill).all())


def _is_stored(dataset: h5py.Dataset, index: int) -> bool:
    """Whether the pixels of an image are in the file, which a blank image leaves in doubt."""
    if dataset.chunks is None:
        return True
    lead = (index,) if dataset.ndim == 3 else divmod(index, dataset.shape[1])
    coordinates = lead[: dataset.ndim - 2] + (0, 0)
    origin = tuple(c // size * size for c, size in zip(coordinates, dataset.chunks, strict=True))
    return dataset.id.get_chunk_info_by_coord(origin).byte_offset is not None


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn the errors of h5py into ours."""
    try:
        yield
    except PermissionError as error:
        raise AssetForbidden(f"{path}: this user may not read the file") from error
    except AssetError:
        raise
    except Exception as error:  # h5py that meets garbage raises whatever it likes
        raise _translate(path, error) from error


def _translate(path: Path, error: Exception) -> AssetError:
    words = str(error).lower()
    if isinstance(error, FileNotFoundError):
        return AssetMissing(f"{path}: the file has gone")
    if any(w in words for w in _FILTER_WORDS):
        return AssetError(
            f"{path}: compressed with a filter that is not installed here ({error}); "
            "pip install hdf5plugin and set HDF5_PLUGIN_PATH"
        )
    if any(w in words for w in _LOCK_WORDS) or _is_locked(path):
        return AssetLocked(
            f"{path}: another process writes the file without SWMR; switch SWMR on in the file "
            "writer, or process after the file is closed"
        )
    return AssetNotReady(f"{path}: cannot be read (yet): {error}")


def _is_locked(path: Path) -> bool:
    """Whether another process holds an exclusive lock on the file."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False
