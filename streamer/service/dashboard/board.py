"""What is known of one stream of a run: its rows as Tiled holds them, and what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamBoard:
    """Rows of one stream.

    Attributes
    ----------
    name : of the stream.
    meaning : ``columns``, ``units``, ``kinds`` and ``codes``, as `Coder.metadata` describes them.
    arrays : shape of one image of each array key that has one.
    rows : (n, columns) float64; a row that never arrived is NaN.
    outlines : (m, directions) float32, px, of the first m rows; see `core.register.images`.
    """

    name: str
    meaning: Mapping[str, Any]
    arrays: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    rows: Rows = field(default_factory=lambda: np.empty((0, 0)))
    outlines: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.meaning["columns"])

    @property
    def count(self) -> int:
        """Number of rows."""
        return len(self.rows)

    def described(self) -> dict[str, Any]:
        """Everything but the rows, as plain data."""
        arrays = {name: list(shape) for name, shape in self.arrays.items()}
        return {"name": self.name, "arrays": arrays, **dict(self.meaning)}


def place(board: StreamBoard, start: int, block: Rows) -> StreamBoard:
    """Write rows at an index; rows between the end and `start` are NaN.

    Parameters
    ----------
    board : what is known. start : index of the first row of `block`.
    block : (n, columns) float64.
    """
    width = len(board.columns)
    if block.ndim != 2 or block.shape[1] != width:
        raise ValueError(f"rows of {board.name} have {width} columns, got shape {block.shape}")
    length = max(board.count, start + len(block))
    rows = np.full((length, width), np.nan)
    rows[: board.count] = board.rows.reshape(-1, width)
    rows[start : start + len(block)] = block
    return replace(board, rows=rows)


def first_missing(board: StreamBoard) -> int:
    """Index of the first row that never arrived; the number of rows if there is none."""
    if not board.count:
        return 0
    missing = ~(board.rows[:, 0] >= 1)
    return int(np.argmax(missing)) if missing.any() else board.count


def unknown_words(board: StreamBoard, block: Rows) -> bool:
    """Whether rows hold a code that the code tables do not have yet."""
    for name, words in board.meaning["codes"].items():
        codes = block[:, board.columns.index(name)]
        if np.any(codes[np.isfinite(codes)] >= len(words)):
            return True
    return False
