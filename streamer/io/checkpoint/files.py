"""Keep the newest checkpoint on disk: replaced in one step, so that a whole one is always there."""

from __future__ import annotations

import logging
import os
import shutil
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from ...errors import CheckpointError
from .schema import SCHEMA

logger = logging.getLogger(__name__)
_MAGIC = b"operando checkpoint\n"
_NAME = "checkpoint"
_LARGEST = (1 << 32) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """State of a processor at a position of the journal.

    Attributes
    ----------
    position : of the journal; documents before it are in `state`.
    open_from : position of the first document of a run that was open, else `position`; from there
        on everything can be computed anew without `state`.
    made_for : hash of the settings and weights that made the state, and of where results go.
    state : tree of `encode`.
    """

    position: int
    open_from: int
    made_for: str
    state: Any


class CheckpointFiles:
    """Keeps the newest checkpoint in a folder.

    Parameters
    ----------
    folder : made if absent.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / _NAME
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, data: bytes) -> None:
        """Replace the checkpoint by one packed with `pack`.

        Raises
        ------
        OSError
            The disk refuses; the checkpoint before stays.
        """
        fresh = self.path.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path)

    def read(self) -> Checkpoint | None:
        """Return the checkpoint; None if there is none.

        Raises
        ------
        CheckpointError
            It is damaged, or of another version.
        """
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return None
        return unpack(data)

    def discard(self) -> None:
        """Put the checkpoint aside: it is of no use, but somebody may want to look at it."""
        if self.path.exists():
            self.path.replace(self.path.with_suffix(".unusable"))


def pack_tree(tree: Any) -> bytes:
    """Turn a tree of `encode` into bytes."""
    data = msgpack.packb(tree)
    assert data is not None
    return data


def unpack_tree(data: bytes | memoryview) -> Any:
    """Turn bytes of `pack_tree` into the tree."""
    return msgpack.unpackb(
        data,
        strict_map_key=False,
        max_bin_len=_LARGEST,
        max_str_len=_LARGEST,
        max_array_len=_LARGEST,
        max_map_len=_LARGEST,
    )


def pack(checkpoint: Checkpoint) -> bytes:
    """Turn a checkpoint into the bytes of its file."""
    body = pack_tree(
        {
            "schema": SCHEMA.version,
            "position": checkpoint.position,
            "open_from": checkpoint.open_from,
            "made_for": checkpoint.made_for,
            "state": checkpoint.state,
        }
    )
    return _MAGIC + zlib.crc32(body).to_bytes(4, "little") + body


def unpack(data: bytes) -> Checkpoint:
    """Read the bytes of a file.

    Raises
    ------
    CheckpointError
        They are damaged, or of another version.
    """
    head = len(_MAGIC) + 4
    if not data.startswith(_MAGIC) or len(data) < head:
        raise CheckpointError(f"no checkpoint: {len(data)} bytes without the mark of one")
    body = memoryview(data)[head:]
    if zlib.crc32(body).to_bytes(4, "little") != data[len(_MAGIC) : head]:
        raise CheckpointError(f"the checkpoint is damaged: its checksum fails ({len(data)} bytes)")
    entries = unpack_tree(body)
    if entries["schema"] != SCHEMA.version:
        raise CheckpointError(
            f"the checkpoint has schema {entries['schema']}, this version reads {SCHEMA.version}"
        )
    return Checkpoint(**{k: v for k, v in entries.items() if k != "schema"})


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
        """Return the path of a file; a name out of a checkpoint cannot leave the folder."""
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
