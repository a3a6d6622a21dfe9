"""Large arrays of checkpoints, each written once.

Flats, kept frames and templates stay the same from one checkpoint to the next; only the small
rest changes. An array that was written before is known by its identity: arrays of the core are
never changed in place.
"""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import CheckpointError

SMALLEST = 1 << 16
"""Arrays below this many bytes are written with the rest of the checkpoint."""

_FOLDER = "blobs"


@dataclass(frozen=True, slots=True)
class Blob:
    """A file with the bytes of one array: its name, and what its content must add up to."""

    name: str
    crc32: int


class Blobs:
    """Files of arrays in a folder.

    Between `begin` and `end` lies the writing of one checkpoint. Files are removed when neither the
    checkpoint on disk nor the one that is on its way there needs them.

    Parameters
    ----------
    folder : made if absent.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / _FOLDER
        self._folder.mkdir(parents=True, exist_ok=True)
        taken = [int(p.stem) for p in self._folder.glob("*.bin") if p.stem.isdigit()]
        self._next = max(taken, default=-1) + 1
        self._known: dict[int, tuple[np.ndarray[Any, Any], Blob]] = {}
        self._used: dict[int, tuple[np.ndarray[Any, Any], Blob]] = {}
        self._linked: dict[Path, str] = {}
        self._links: dict[Path, str] = {}

    def begin(self) -> None:
        """Start a checkpoint."""
        self._used, self._links = {}, {}

    def end(self) -> frozenset[str]:
        """End a checkpoint; return the names of the files that it needs."""
        self._known, self._linked = self._used, self._links
        blobs = (blob.name for _, blob in self._known.values())
        return frozenset([*blobs, *self._linked.values()])

    def put(self, array: np.ndarray[Any, Any]) -> Blob:
        """Write an array (C order), unless the checkpoint before has it.

        Raises
        ------
        OSError
            The disk refuses.
        """
        known = self._known.get(id(array)) or self._used.get(id(array))
        if known is None:
            data = array.tobytes()
            blob = Blob(f"{self._next}.bin", zlib.crc32(data))
            self._next += 1
            (self._folder / blob.name).write_bytes(data)
            known = array, blob
        self._used[id(array)] = known
        return known[1]

    def get(self, name: str, crc32: int) -> bytes:
        """Read the bytes of an array.

        Raises
        ------
        CheckpointError
            The file is missing or damaged.
        """
        path = self.path(name)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise CheckpointError(f"a part of the checkpoint cannot be read: {error}") from error
        if zlib.crc32(data) != crc32:
            raise CheckpointError(f"a part of the checkpoint is damaged: {path.name}")
        return data

    def link(self, path: Path) -> str:
        """Take a file that another keeps, which may be removed there at any time.

        Raises
        ------
        OSError
            The disk refuses.
        """
        known = self._linked.get(path)
        if known is None:
            known = f"{self._next}.bin"
            self._next += 1
            link_or_copy(path, self._folder / known)
        self._links[path] = known
        return known

    def path(self, name: str) -> Path:
        """Where a file lies; the name comes from a checkpoint and cannot leave the folder."""
        return self._folder / Path(name).name

    def keep_only(self, names: Iterable[str]) -> None:
        """Remove all other files."""
        wanted = set(names)
        for path in self._folder.glob("*.bin"):
            if path.name not in wanted:
                path.unlink(missing_ok=True)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name; copy it where the file system has no such thing."""
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)
