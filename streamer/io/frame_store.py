"""Raw frames that may be needed again: in memory up to a bound, then on disk up to another."""

from __future__ import annotations

import tempfile
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from ..core.run import StoredImage
from .checkpoint.files import Blobs, link_or_copy

StoreKey = tuple[str, int]
"""Uid of the raw run, and number of the frame in it."""


class FrameStore:
    """Keeps images until they are dropped; the oldest spill to a temporary folder.

    Parameters
    ----------
    max_bytes : memory that images may take before they spill.
    max_disk_bytes : what may lie in the folder; beyond it the oldest images are given up.
    folder : where they spill to; None for the system's place for temporary files.
    """

    def __init__(
        self, max_bytes: int, max_disk_bytes: int = 1 << 62, folder: Path | None = None
    ) -> None:
        self._max_bytes = max_bytes
        self._max_disk_bytes = max_disk_bytes
        self._disk_bytes = 0
        self._parent = folder
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._memory: OrderedDict[StoreKey, NDArray[np.float32]] = OrderedDict()
        self._disk: dict[StoreKey, tuple[Path, int]] = {}
        self._bytes = 0
        self._serial = 0

    def __enter__(self) -> FrameStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._memory) + len(self._disk)

    @property
    def bytes_in_memory(self) -> int:
        """Memory that images take now, bytes."""
        return self._bytes

    def put(self, key: StoreKey, image: NDArray[np.float32]) -> None:
        """Keep an image (H, W) float32.

        Raises
        ------
        OSError
            If there is no room on disk for the oldest image, which is given up.
        """
        self.drop(key)
        self._memory[key] = image
        self._bytes += image.nbytes
        while self._bytes > self._max_bytes and len(self._memory) > 1:
            self._spill()

    def get(self, key: StoreKey) -> NDArray[np.float32]:
        """Give an image back; it stays kept.

        Raises
        ------
        KeyError
            If it was never put, dropped, given up for want of room, or cleaned away by others.
        """
        if key in self._memory:
            return self._memory[key]
        path, _ = self._disk[key]
        try:
            return np.load(path, allow_pickle=False)
        except FileNotFoundError as error:
            raise KeyError(key) from error

    def drop(self, key: StoreKey) -> None:
        """Forget an image, if it is kept."""
        image = self._memory.pop(key, None)
        if image is not None:
            self._bytes -= image.nbytes
        if key in self._disk:
            path, size = self._disk.pop(key)
            self._disk_bytes -= size
            path.unlink(missing_ok=True)

    def drop_run(self, run: str) -> None:
        """Forget all images of a raw run."""
        for key in [k for k in (*self._memory, *self._disk) if k[0] == run]:
            self.drop(key)

    def snapshot(self, blobs: Blobs) -> tuple[StoredImage, ...]:
        """Return what is kept, oldest first; what has spilled to disk becomes a file of `blobs`."""
        spilled = [
            StoredImage(run=run, frame=frame, file=blobs.link(path))
            for (run, frame), (path, _) in self._disk.items()
        ]
        kept = [
            StoredImage(run=run, frame=frame, image=image)
            for (run, frame), image in self._memory.items()
        ]
        return (*spilled, *kept)

    def restore(self, images: Iterable[StoredImage], blobs: Blobs) -> None:
        """Take back a snapshot."""
        for stored in images:
            key = stored.run, stored.frame
            if stored.image is None:
                self._adopt(key, blobs.path(stored.file))
            else:
                self.put(key, stored.image)

    def close(self) -> None:
        """Forget everything and remove the folder."""
        self._memory.clear()
        self._disk.clear()
        self._bytes = self._disk_bytes = 0
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _adopt(self, key: StoreKey, source: Path) -> None:
        path = self._new_path()
        link_or_copy(source, path)
        size = path.stat().st_size
        self._disk[key] = path, size
        self._disk_bytes += size

    def _new_path(self) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="operando-", dir=self._parent)
        self._serial += 1
        return Path(self._folder.name) / f"{self._serial - 1}.npy"

    def _spill(self) -> None:
        path = self._new_path()
        key, image = self._memory.popitem(last=False)
        self._bytes -= image.nbytes
        try:
            np.save(path, image, allow_pickle=False)
        except OSError:  # what is there of it would take room for ever
            path.unlink(missing_ok=True)
            raise
        size = path.stat().st_size
        self._disk[key] = path, size
        self._disk_bytes += size
        while self._disk_bytes > self._max_disk_bytes:
            self.drop(next(iter(self._disk)))
