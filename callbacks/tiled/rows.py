"""Scalars of result events as rows of numbers, and back; the live rows of a stream on the server.

Rows are float64 because one numeric array can be patched and pushed to subscribers at the price
of a single small request. Strings become codes; the code table travels in the metadata of the
array. Rows that nobody has written are recognised by ``seq_num`` below 1 or NaN.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tiled.client.array import ArrayClient
from tiled.client.container import Container
from tiled.structures.table import TableStructure

from ...streamer.io.tiled.connection import TiledConnection, new_array, patch_array, structure_of
from ...streamer.io.tiled.settings import TiledSettings

Kind = Literal["number", "integer", "boolean", "string"]
SEQ_NUM = "seq_num"
TIME = "time"
RESERVED = (SEQ_NUM, TIME)
_KINDS: tuple[Kind, ...] = get_args(Kind)
TABLE = "internal"
STAMP = "ts_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One scalar of an event: its name, what it is and its unit ("" if it has none)."""

    name: str
    kind: Kind
    units: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayKey:
    """One array of an event: its name, the shape of one event and its dtype."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def scalar_columns(data_keys: Mapping[str, Mapping[str, Any]]) -> tuple[Column, ...]:
    """Return the columns of a stream: ``seq_num``, ``time``, then its scalar data keys."""
    columns = [
        Column(name=SEQ_NUM, kind="integer"),
        Column(name=TIME, kind="number", units="s"),
    ]
    for name, key in data_keys.items():
        if _is_scalar(key) and name not in RESERVED:
            columns.append(Column(name=name, kind=key["dtype"], units=key.get("units") or ""))
    return tuple(columns)


def array_keys(data_keys: Mapping[str, Mapping[str, Any]]) -> tuple[ArrayKey, ...]:
    """Return the data keys of a stream that are not scalars, in their order."""
    keys: list[ArrayKey] = []
    for name, key in data_keys.items():
        if not _is_scalar(key):
            shape = tuple(int(size) for size in key["shape"] if size is not None)
            dtype = np.dtype(cast("str", key.get("dtype_numpy", "<f4")))
            keys.append(ArrayKey(name=name, shape=shape, dtype=dtype))
    return tuple(keys)


def _is_scalar(key: Mapping[str, Any]) -> bool:
    return key["dtype"] in _KINDS and not key.get("shape")


@dataclass(slots=True)
class Coder:
    """Turns scalars of events into rows; grows a code table per string column.

    Attributes
    ----------
    columns : the columns, in order.
    codes : for each string column, its values in the order of their codes.
    """

    columns: Sequence[Column]
    codes: dict[str, list[str]] = field(default_factory=dict)
    _lookup: dict[str, dict[str, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for column in self.columns:
            if column.kind == "string":
                self.codes.setdefault(column.name, [])
        self._lookup = {name: _inverse(values) for name, values in self.codes.items()}

    def adopt(self, codes: Mapping[str, Iterable[str]]) -> None:
        """Take over a code table that the server holds, before the first row is coded."""
        for name in self.codes:
            self.codes[name] = list(codes.get(name, ()))
        self._lookup = {name: _inverse(values) for name, values in self.codes.items()}

    def encode(self, seq_num: int, time: float, data: Mapping[str, Any]) -> NDArray[np.float64]:
        """Return one row, (n columns,) float64; what is missing or None is NaN."""
        values = [float(seq_num), float(time)]
        values += [self._number(column, data.get(column.name)) for column in self.columns[2:]]
        return np.array(values, dtype=np.float64)

    def _number(self, column: Column, value: Any) -> float:
        if value is None:
            return np.nan
        return self._code(column.name, str(value)) if column.kind == "string" else float(value)

    def _code(self, name: str, value: str) -> float:
        lookup = self._lookup[name]
        if value not in lookup:
            lookup[value] = len(self.codes[name])
            self.codes[name].append(value)
        return float(lookup[value])

    def metadata(self) -> dict[str, Any]:
        """Describe the rows for a reader: names, units and kinds of columns, and code tables."""
        return {
            "columns": [column.name for column in self.columns],
            "units": {column.name: column.units for column in self.columns},
            "kinds": {column.name: column.kind for column in self.columns},
            "codes": {name: list(values) for name, values in self.codes.items()},
        }


def columns_of(metadata: Mapping[str, Any]) -> tuple[Column, ...]:
    """Return columns as `Coder.metadata` described them."""
    units, kinds = metadata["units"], metadata["kinds"]
    return tuple(
        Column(name=name, kind=kinds[name], units=units[name]) for name in metadata["columns"]
    )


def decode(rows: NDArray[np.float64], metadata: Mapping[str, Any]) -> pd.DataFrame:
    """Turn rows into a table, strings and integers back in place.

    Parameters
    ----------
    rows : (n, columns) float64.
    metadata : what `Coder.metadata` returned.

    Returns
    -------
    DataFrame with a row per event that has been written; an integer column in which a value is
    missing stays float64.
    """
    written = rows[rows[:, 0] >= 1]
    codes = metadata["codes"]
    columns = columns_of(metadata)
    data = {
        column.name: _decoded(column, written[:, i], codes.get(column.name, ()))
        for i, column in enumerate(columns)
    }
    table = pd.DataFrame(data)
    table.attrs["units"] = {column.name: column.units for column in columns}
    return table


def _decoded(column: Column, values: NDArray[np.float64], codes: Sequence[str]) -> Any:
    if column.kind == "string":
        names = [*codes, None]
        known = np.isfinite(values) & (values >= 0) & (values < len(codes))
        index = np.where(known, values, len(codes)).astype(np.int64)
        return np.array(names, dtype=object)[index]
    if column.kind == "number" or not np.all(np.isfinite(values)):
        return values
    return values.astype(np.bool_ if column.kind == "boolean" else np.int64)


def _inverse(values: Sequence[str]) -> dict[str, int]:
    return {value: i for i, value in enumerate(values)}


# The finished numbers of a stream as one Parquet table.
#
# It is named and laid out as bluesky's own writer does it (``internal``: ``seq_num``, ``time``,
# the data keys and ``ts_<key>``), so that stock clients and the document exporter understand it.
# Result events carry one time for all their keys; ``ts_<key>`` repeats it.


def table_of(rows: NDArray[np.float64], metadata: Mapping[str, Any]) -> pd.DataFrame:
    """Make a table of all scalar columns, decoded, with a time stamp column for each."""
    table = decode(rows, metadata)
    names = [name for name in table.columns if name not in RESERVED]
    stamps = pd.DataFrame({f"{STAMP}{name}": table[TIME] for name in names}, index=table.index)
    joined = pd.concat([table, stamps], axis=1)
    joined.attrs = {}
    return joined


def write_table(connection: TiledConnection, parent: Container, table: pd.DataFrame) -> None:
    """Write the table of a stream, in place of one that is there.

    Raises
    ------
    httpx.HTTPError
        The server failed; calling again repeats it.
    """
    node = connection.child(parent, TABLE)
    if node is not None and not node.structure().is_compatible(TableStructure.from_pandas(table)):
        connection.delete(node)
        node = None
    if node is None:
        parent.write_table(table, key=TABLE)
    else:
        node.write(table)


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
