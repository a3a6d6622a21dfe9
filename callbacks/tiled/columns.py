"""Scalars of result events as rows of numbers, and back.

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
from tiled.client.container import Container
from tiled.structures.table import TableStructure

from ...streamer.io.tiled.connection import TiledConnection

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
