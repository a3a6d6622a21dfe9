"""How a checkpoint marks what msgpack has no type for: ``[TAG, kind, ...]``.

A plain list never occurs in the tree (lists are tagged as well), so that nothing a run carries in
its metadata can be mistaken for a mark.
"""

from __future__ import annotations

SCHEMA = 2
"""Raise it whenever bytes written before can no longer be read as what they were."""

LIST = "l"
TUPLE = "t"
SET = "s"
FROZENSET = "f"
DEQUE = "q"
DICT = "d"
COUNTER = "c"
ARRAY = "a"
BLOB = "b"
"""An array whose bytes lie in a file of their own."""
SCALAR = "n"
TENSOR = "T"
ENUM = "e"
DATACLASS = "D"
MODEL = "M"
COMPLEX = "j"
SEEN = "r"
"""The object that was the n-th to be written: it is one object again when it is read."""

PACKAGE = "operando."
"""Only classes of this package are named in a checkpoint, and only dataclasses, enums and settings
of it are built when one is read."""
