"""Checkpoints: the state of the core as bytes, and back, without ever unpickling.

`encode` turns frozen dataclasses of arrays, tensors and plain values into a tree that msgpack can
write, `decode` turns such a tree back into the same objects, and `files` keeps the newest one on
disk such that a crash at any moment leaves a whole checkpoint behind.
"""

from __future__ import annotations

from .files import Blobs, Checkpoint, CheckpointFiles
from .state import decode, encode

__all__ = ["Blobs", "Checkpoint", "CheckpointFiles", "decode", "encode"]
