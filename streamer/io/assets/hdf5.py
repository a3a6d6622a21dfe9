"""HDF5 files, while their writer still appends to them (SWMR) or after.

Files are opened without a lock: a reader's lock would keep the detector's file writer from
opening its own file again (measured with HDF5 2.0: ``unable to lock file``). A writer that does not
use SWMR is noticed by the marks that it leaves in the file or, where reading fails, by its lock.
"""

from __future__ import annotations

import fcntl
import posixpath
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ...errors import AssetError, AssetForbidden, AssetLocked, AssetMissing, AssetNotReady
from .reader import Gate, existing
from .sequences import frames_per_file, pieces, sequence_uri

DEFAULT_DATASET = "/entry/data/data"
_LOCK_WORDS = ("unable to lock file", "already open for write", "not already open for swmr")
_FILTER_WORDS = ("required filter", "can't open directory", "unable to load dynamically")
# by eye: far more than beamlines' files have, few enough that a hostile file costs little
_MOST_LINKS = 32
_DEEPEST = 4
_MOST_SOURCES = 256
OpenFile = Callable[[Path], h5py.File]


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
        """Read (n, H, W) images `start`..`stop`, see `AssetReader.read`."""
        if not self._parameters.get("template"):
            return self._read_file(self._uri, start, stop)
        size = self._frames_per_file()
        parts = [
            self._read_file(sequence_uri(self._uri, self._parameters, f), first, last)
            for f, first, last in pieces(start, stop, size)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _frames_per_file(self) -> int:
        """Return the images per file; an area detector in single mode writes one file per point."""
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
        """Return a dataset that shows at least `stop` images."""
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
    """Return (n, H, W) images of a dataset with up to two leading axes."""
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
    """Return whether the pixels of an image are in the file; a blank image leaves it in doubt."""
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
    """Return whether another process holds an exclusive lock on the file."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


# Follows links in HDF5 files without leaving the folders that may be read.
#
# HDF5 itself follows external links, virtual datasets and external storage wherever they point, to
# any file that this user can read. So links are walked here, one by one, and every file that a
# dataset draws on is checked before its pixels are read.


def find_dataset(open_file: OpenFile, path: Path, name: str, gate: Gate) -> h5py.Dataset:
    """Find the dataset `name` of the file at `path`, through soft and external links.

    Parameters
    ----------
    open_file : opens a file for reading and keeps it to be closed later.
    gate : says which files may be opened.

    Raises
    ------
    AssetMissing
        If there is no such dataset (yet).
    AssetForbidden
        If the dataset draws on a file outside the allowed roots.
    AssetError
        If links lead round in circles.
    """
    dataset, home = _follow(open_file, path, name, gate)
    _vet(open_file, dataset, home, gate, 0)
    return dataset


def _follow(open_file: OpenFile, path: Path, name: str, gate: Gate) -> tuple[h5py.Dataset, Path]:
    """Return the dataset and the file that holds it."""
    file = open_file(path)
    todo, group, hops = _parts(name), "/", 0
    while todo:
        part = todo.pop(0)
        parent = file[group]
        link = parent.get(part, getlink=True) if isinstance(parent, h5py.Group) else None
        if link is None:
            raise AssetMissing(f"{path}: no dataset {name!r} (yet); nothing at {group}/{part}")
        if isinstance(link, h5py.HardLink):
            group = posixpath.join(group, part)
            continue
        if not isinstance(link, h5py.SoftLink | h5py.ExternalLink):
            raise AssetError(f"{path}: {name!r} leads through a link of unknown kind")
        hops += 1
        if hops > _MOST_LINKS:
            raise AssetError(f"{path}: links of {name!r} lead round in circles")
        if isinstance(link, h5py.ExternalLink):
            path = _neighbour(path, link.filename, gate)
            file = open_file(path)
            group = "/"
        todo = _parts(posixpath.join(group, str(link.path))) + todo
        group = "/"
    found = file[group]
    if not isinstance(found, h5py.Dataset):
        raise AssetMissing(f"{path}: {name!r} is a group, not a dataset")
    return found, path


def _parts(name: str) -> list[str]:
    return [p for p in posixpath.normpath("/" + name).split("/") if p]


def _neighbour(path: Path, name: str, gate: Gate) -> Path:
    """Return the file that another one refers to, relative to its folder."""
    return existing(gate.check(path.parent / name))


def _vet(open_file: OpenFile, dataset: h5py.Dataset, path: Path, gate: Gate, depth: int) -> None:
    """Check every file that a dataset draws its pixels from."""
    if depth > _DEEPEST:
        raise AssetError(f"{path}: virtual datasets of virtual datasets, more than {_DEEPEST} deep")
    for name, *_ in dataset.external or ():
        _neighbour(path, name, gate)
    if not dataset.is_virtual:
        return
    sources = {(s.file_name, s.dset_name) for s in dataset.virtual_sources()}
    if len(sources) > _MOST_SOURCES:  # each is opened, and a process may open about a thousand
        raise AssetError(f"{path}: a virtual dataset over {len(sources)} others, > {_MOST_SOURCES}")
    for name, inside in sources:
        if "%" in name:
            raise AssetForbidden(f"{path}: a virtual dataset over the name pattern {name!r}")
        source = path if name == "." else _neighbour(path, name, gate)
        found, home = _follow(open_file, source, inside, gate)
        _vet(open_file, found, home, gate, depth + 1)
