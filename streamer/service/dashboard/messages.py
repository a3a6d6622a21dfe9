"""Messages from the dashboard's server to a page, over its websocket.

Text messages are JSON objects with a ``type``. Binary messages are

    length of the header, uint32 little endian | header, JSON | spaces up to a multiple of 8 | data

with data float64 rows (``type: rows``), float32 outlines (``type: outlines``) or one byte per pixel
(``type: preview``, of the image ``key``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...io.tiled.status import TiledStatus

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
    """Return whether rows hold a code that the code tables do not have yet."""
    for name, words in board.meaning["codes"].items():
        codes = block[:, board.columns.index(name)]
        if np.any(codes[np.isfinite(codes)] >= len(words)):
            return True
    return False


_LONGEST_TEXT = 300
_PATIENCE = "The processor keeps its results meanwhile; this page tries again by itself."
_RUN_KEYS = ("uid", "original_run_uid", "scan_id", "sample", "time")


def status(trouble: TiledStatus | None, shown: str, *, pushed: bool) -> str:
    """Tell whether Tiled is read, and how."""
    what, remedy = ("", "") if trouble is None else (trouble.what, f"{trouble.remedy} {_PATIENCE}")
    how = "pushed" if pushed else "polled"
    return _text("status", ok=trouble is None, tiled=shown, how=how, what=what, remedy=remedy)


def runs(found: list[Mapping[str, Any]]) -> str:
    """List the runs, newest first."""
    return _text("runs", runs=[run_card(metadata) for metadata in found])


def run(metadata: Mapping[str, Any] | None) -> str:
    """Begin with a run: everything known of another one is to be forgotten."""
    return _text("run", run=None if metadata is None else run_card(metadata))


def stop(metadata: Mapping[str, Any]) -> str:
    """Tell that the run has stopped."""
    return _text("stop", run=run_card(metadata))


def stream(key: str, board: StreamBoard) -> str:
    """Describe a stream, or tell that its description has changed."""
    return _text("stream", run=key, stream=board.described())


def rows(key: str, board: StreamBoard, start: int, stop: int) -> bytes:
    """Rows ``start <= i < stop`` of a stream."""
    block = np.ascontiguousarray(board.rows[start:stop], dtype="<f8")
    header = {"type": "rows", "run": key, "stream": board.name, "start": start}
    return _binary({**header, "columns": len(board.columns)}, block.tobytes())


def outlines(key: str, board: StreamBoard, start: int) -> bytes:
    """Outlines of the rows of a stream from `start` on."""
    block = np.ascontiguousarray(board.outlines[start:], dtype="<f4")
    header = {"type": "outlines", "run": key, "stream": board.name, "start": start}
    return _binary({**header, "columns": block.shape[1]}, block.tobytes())


def preview(key: str, image: str, picture: NDArray[np.uint8]) -> bytes:
    """Show the newest image of an image key, small."""
    height, width = picture.shape
    header = {"type": "preview", "run": key, "key": image, "height": height, "width": width}
    return _binary(header, picture.tobytes())


def run_card(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the card of a run for a page; ``key`` names it."""
    start, ended = metadata.get("start") or {}, metadata.get("stop")
    about = start.get("operando") or {}
    card = {key: _safe(start.get(key)) for key in _RUN_KEYS}
    card |= {"key": metadata["key"], "profile": _safe(about.get("profile")), "stop": None}
    if ended:
        wanted = ("time", "exit_status", "reason", "ledger")
        card["stop"] = {key: _safe(ended.get(key)) for key in wanted}
    return card


def _safe(value: Any) -> Any:
    """Plain and short data: what stands in metadata may be anything."""
    if isinstance(value, bool | int | None):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k)[:_LONGEST_TEXT]: _safe(v) for k, v in list(value.items())[:50]}
    return str(value)[:_LONGEST_TEXT]


def _text(kind: str, **content: Any) -> str:
    return json.dumps({"type": kind, **content})


def _binary(header: Mapping[str, Any], data: bytes) -> bytes:
    text = json.dumps(header).encode()
    text += b" " * (-(4 + len(text)) % 8)
    return len(text).to_bytes(4, "little") + text + data
