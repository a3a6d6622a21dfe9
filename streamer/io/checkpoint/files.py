"""Keep the newest checkpoint on disk: replaced in one step, so that a whole one is always there."""

from __future__ import annotations

import logging
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack

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
