"""The live numbers of a stream: one array ``rows``, a row per event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from tiled.client.array import ArrayClient
from tiled.client.container import Container

from ...streamer.io.tiled.connection import TiledConnection, new_array, patch_array, structure_of
from ...streamer.io.tiled.settings import TiledSettings
from .columns import Coder, Column

ROWS = "rows"

DIMS = ("time", "column")


class RowSeries:
    """Rows of one stream on their way to the server; row ``i`` is event ``seq_num == i + 1``.

    Parameters
    ----------
    columns : columns of the stream.
    settings : settings of the sink.

    Attributes
    ----------
    changed : whether this object wrote anything that the server did not hold before.
    """

    def __init__(self, columns: tuple[Column, ...], settings: TiledSettings) -> None:
        self.coder = Coder(columns)
        self.changed = False
        self._settings = settings
        self._events: list[tuple[int, float, Mapping[str, Any]]] = []
        self._rows: dict[int, NDArray[np.float64]] = {}
        self._node: ArrayClient | None = None
        self._held = np.empty((0, len(columns)))
        self._published: dict[str, int] = {}
        self._since: float | None = None
        firm = [i for i, c in enumerate(columns) if c.name not in settings.volatile]
        self._firm = np.array(firm, dtype=np.intp)

    def add(self, seq_num: int, time: float, data: Mapping[str, Any], now: float) -> None:
        """Take the scalars of an event; `now` is the monotonic clock, s."""
        scalars = {c.name: data.get(c.name) for c in self.coder.columns[2:]}
        self._events.append((seq_num, time, scalars))
        self._since = now if self._since is None else self._since

    @property
    def pending(self) -> int:
        """Count rows not yet on the server."""
        return len(self._events) + len(self._rows)

    def flush(
        self, connection: TiledConnection, parent: Container, now: float, *, final: bool
    ) -> None:
        """Write what is waiting.

        Raises
        ------
        httpx.HTTPError
            The server failed; everything unwritten is kept for the next call.
        """
        if not self.pending:
            return
        if self._node is None:
            self._adopt(connection.child(parent, ROWS))
        self._encode()
        if not self._rows or not self._node_exists(parent, now, final=final):
            return
        self._publish_codes()
        self._write()
        self._since = None

    def read_back(
        self, connection: TiledConnection, parent: Container
    ) -> tuple[NDArray[np.float64], Mapping[str, Any]]:
        """Return all rows that the server holds, (n, columns) float64, and what they mean.

        The meaning is the server's: this object has no codes of rows that it did not write.
        """
        node = connection.child(parent, ROWS)
        if node is None:
            return np.empty((0, len(self.coder.columns))), self.coder.metadata()
        return np.asarray(node.read()), node.metadata

    def forget_node(self) -> None:
        """Look the node up again: the server may have lost it."""
        self._node = None

    def _adopt(self, node: ArrayClient | None) -> None:
        if node is None:
            return
        self._node = node
        self._held = np.asarray(node.read())
        codes = cast("Mapping[str, list[str]]", node.metadata.get("codes", {}))
        self._published = {name: len(values) for name, values in codes.items()}
        if not any(self.coder.codes.values()):
            self.coder.adopt(codes)

    def _encode(self) -> None:
        for seq_num, time, scalars in self._events:
            row = self.coder.encode(seq_num, time, scalars)
            if not self._is_held(seq_num - 1, row):
                self._rows[seq_num - 1] = row
        self._events.clear()

    def _is_held(self, index: int, row: NDArray[np.float64]) -> bool:
        if index >= len(self._held):
            return False
        return np.array_equal(self._held[index][self._firm], row[self._firm], equal_nan=True)

    def _node_exists(self, parent: Container, now: float, *, final: bool) -> bool:
        if self._node is not None:
            return True
        waited = now - (self._since if self._since is not None else now)
        settings = self._settings
        if not (final or waited >= settings.first_rows_s or len(self._rows) >= settings.first_rows):
            return False
        shape = (max(self._rows) + 1, len(self.coder.columns))
        structure = structure_of(shape, np.dtype(np.float64), shape[0], DIMS)
        self._node = new_array(parent, ROWS, structure, self.coder.metadata())
        self._published = {name: len(values) for name, values in self.coder.codes.items()}
        return True

    def _publish_codes(self) -> None:
        """Make new codes known before the rows that use them."""
        sizes = {name: len(values) for name, values in self.coder.codes.items()}
        if sizes != self._published and self._node is not None:
            self._node.update_metadata(self.coder.metadata(), drop_revision=True)
            self._published = sizes

    def _write(self) -> None:
        assert self._node is not None
        limit = max(1, self._settings.request_bytes // (8 * len(self.coder.columns)))
        for start, stop in ranges(self._rows, limit):
            block = np.stack([self._rows[i] for i in range(start, stop)])
            patch_array(self._node, block, start)
            self.changed = True
            for i in range(start, stop):
                del self._rows[i]
            self._remember(start, block)

    def _remember(self, start: int, block: NDArray[np.float64]) -> None:
        """Keep the memory of what was on the server true for rows written over."""
        overlap = self._held[start : start + len(block)]
        overlap[:] = block[: len(overlap)]


def ranges(indexes: Mapping[int, Any], limit: int) -> list[tuple[int, int]]:
    """Return contiguous half-open ranges of the keys of `indexes`, none longer than `limit`."""
    found: list[tuple[int, int]] = []
    for i in sorted(indexes):
        if found and found[-1][1] == i and i - found[-1][0] < limit:
            found[-1] = (found[-1][0], i + 1)
        else:
            found.append((i, i + 1))
    return found
