"""A growing stack of images in an HDF5 file that others read meanwhile.

SWMR (single writer, multiple readers), one image per chunk. Images are addressed by index and
images that the file already holds are not written again, so that a repeated run leaves the file
alone. After a crash the file still carries the mark of its dead writer, with which HDF5 refuses
to open it for writing; then its images are copied to a fresh file that takes its place.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ...streamer.errors import SinkError

DATASET = "/entry/data/data"
COPY_BYTES = 64 << 20
RESERVE_BYTES = 256 << 20
"""Space on the disk that images leave free, for the metadata of HDF5 and for others."""

_SPOILT: list[h5py.File] = []
"""Files that must not be closed, see `FrameFile._writing`."""


class FrameFile:
    """Images of one key of one stream.

    Parameters
    ----------
    path : file; folders are made as needed.
    shape : shape of one image, (H, W) or any other.
    dtype : of the images; gaps are NaN for floats, else 0.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.path = path
        self.shape = shape
        self.dtype = dtype
        self._file: h5py.File | None = None
        self._data: h5py.Dataset | None = None
        self._writable = False
        self._held = 0
        self._failed = ""

    def __len__(self) -> int:
        """Number of images in the file."""
        return 0 if self._data is None else int(self._data.shape[0])

    def write(self, images: Mapping[int, NDArray[Any]]) -> list[int]:
        """Put images at their indexes and flush; return the indexes that changed the file.

        Raises
        ------
        SinkError
            Another process writes to the file, or it holds images of another shape.
            The disk is full, or was: give all images of this call again.
        OSError
            The folder cannot be written.
        """
        self._ready()
        changed = [i for i in sorted(images) if not self._is_held(i, images[i])]
        if changed:
            with self._writing(len(changed)) as data:
                if changed[-1] >= len(self):
                    data.resize(changed[-1] + 1, axis=0)
                for i in changed:
                    data[i] = images[i]
                data.flush()
        return changed

    def extend(self, count: int) -> list[int]:
        """Make the stack at least `count` images long; return the indexes of the new gaps."""
        self._ready()
        gaps = list(range(len(self), count))
        if gaps:
            with self._writing(len(gaps)) as data:
                data.resize(count, axis=0)
                data.flush()
        return gaps

    def close(self) -> None:
        """Close the file; a later `write` opens it again."""
        if self._file is not None and not self._failed:
            self._file.close()
        self._file = self._data = None
        self._writable = False

    def _ready(self) -> None:
        if self._failed:
            raise SinkError(
                f"{self.path}: an earlier write failed half way ({self._failed}); start the "
                "service again to continue the file, what is missing comes from the journal"
            )
        if self._data is None:
            self._open()

    @contextmanager
    def _writing(self, images: int) -> Iterator[h5py.Dataset]:
        """Give the stack to write so many images to, if there is room for them.

        HDF5 must not find the disk full: it then holds images for written that are not, and may
        take the process with it when the file is closed. So we look first; and if it fails in
        spite of that, nothing more is done with the file by this process.
        """
        need = images * int(np.prod(self.shape)) * self.dtype.itemsize
        free = shutil.disk_usage(self.path.parent).free
        if free < need + RESERVE_BYTES:
            raise SinkError(f"{self.path.parent}: only {free >> 20} MB are free; make room")
        self._open_for_writing()
        assert self._data is not None
        try:
            yield self._data
        except (RuntimeError, OSError) as error:
            self._failed = str(error)
            assert self._file is not None
            _SPOILT.append(self._file)
            raise SinkError(f"{self.path} cannot be written: {error}") from error

    def _is_held(self, index: int, image: NDArray[Any]) -> bool:
        if index >= self._held or self._data is None:
            return False
        return np.array_equal(
            self._data[index], np.asarray(image, self.dtype), equal_nan=self.dtype.kind == "f"
        )

    def _open(self) -> None:
        if not self.path.exists():
            self._create()
            return
        self._use(h5py.File(self.path, "r", libver="latest", swmr=True), writable=False)
        self._held = len(self)

    def _create(self) -> None:
        """Make the file aside and move it in place: a half-made one could never be opened."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_name(f".{self.path.name}.creating")
        with h5py.File(fresh, "w", libver="latest") as file:
            new_dataset(file, self.shape, self.dtype)
        fresh.replace(self.path)
        self._use(open_to_write(self.path), writable=True)

    def _open_for_writing(self) -> None:
        if self._writable:
            return
        self.close()
        try:
            file = open_to_write(self.path)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES) or "unable to lock" in str(error):
                raise SinkError(
                    f"{self.path} is open in another process ({error}); end that process, or "
                    "give this one another folder"
                ) from error
            replace_by_copy(self.path, self.shape, self.dtype)
            file = open_to_write(self.path)
        self._use(file, writable=True)

    def _use(self, file: h5py.File, *, writable: bool) -> None:
        data = file[DATASET]
        assert isinstance(data, h5py.Dataset)
        if data.shape[1:] != self.shape or data.dtype != self.dtype:
            got = f"{data.shape[1:]} {data.dtype}"
            file.close()
            raise SinkError(
                f"{self.path} holds images of {got}, wanted {self.shape} {self.dtype}; "
                "move the file away or change the sink's folder"
            )
        self._file, self._data, self._writable = file, data, writable


def open_to_write(path: Path) -> h5py.File:
    """Open a file so that others may read it meanwhile (SWMR), in one step.

    ``File(path, "r+")`` and then ``swmr_mode = True`` are two: a process that is killed between
    them leaves a file that nobody can open again.
    """
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_libver_bounds(h5py.h5f.LIBVER_LATEST, h5py.h5f.LIBVER_LATEST)
    flags = h5py.h5f.ACC_RDWR | h5py.h5f.ACC_SWMR_WRITE
    return h5py.File(h5py.h5f.open(os.fsencode(path), flags, access))


def new_dataset(file: h5py.File, shape: tuple[int, ...], dtype: np.dtype[Any]) -> h5py.Dataset:
    """Make the empty stack in a file, laid out as a NeXus entry."""
    entry = file.create_group("entry")
    entry.attrs["NX_class"] = "NXentry"
    entry.attrs["default"] = "data"
    group = entry.create_group("data")
    group.attrs["NX_class"] = "NXdata"
    group.attrs["signal"] = "data"
    return group.create_dataset(
        "data",
        shape=(0, *shape),
        maxshape=(None, *shape),
        chunks=(1, *shape),
        dtype=dtype,
        fillvalue=np.nan if dtype.kind == "f" else 0,
    )


def replace_by_copy(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Copy the images of a file that its writer left open to a fresh one in its place."""
    fresh = path.with_name(f".{path.name}.recovering")
    step = max(1, COPY_BYTES // max(1, int(np.prod(shape)) * dtype.itemsize))
    with (
        h5py.File(path, "r", libver="latest", swmr=True) as old,
        h5py.File(fresh, "w", libver="latest") as new,
    ):
        source = old[DATASET]
        assert isinstance(source, h5py.Dataset)
        target = new_dataset(new, shape, dtype)
        target.resize(source.shape[0], axis=0)
        for start in range(0, source.shape[0], step):
            target[start : start + step] = source[start : start + step]
    fresh.replace(path)
