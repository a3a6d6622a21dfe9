"""Client of ``run["particles"]`` in Tiled once operando is installed.

Tiled picks the class by the spec ``OperandoStream`` (entry point group
``tiled.special_client``). Without operando the same node is bluesky's event stream, and without
bluesky's plugins a plain Tiled container.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from bluesky_tiled_plugins.clients.bluesky_event_stream import BlueskyEventStreamV3
from tiled.client.container import Container

from .rows import ROWS, STAMP, TABLE, Coder, Column, array_keys, decode, scalar_columns

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


class OperandoStream(BlueskyEventStreamV3):
    """A stream of a result run, readable while the run goes on and after it.

    Examples
    --------
    >>> run["particles"].read()  # doctest: +SKIP
    >>> run["particles"]["y"].read()  # doctest: +SKIP
    >>> run["frames"]["aligned"][-1]  # doctest: +SKIP
    """

    def read(self, columns: Iterable[str] | None = None) -> pd.DataFrame:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the scalars of the stream as a table with a row per event.

        Parameters
        ----------
        columns : names of the wanted columns; None for all.

        Returns
        -------
        DataFrame; ``attrs["units"]`` holds the unit of each column. While the run goes on it is
        made from the live rows, afterwards from the table of the run.
        """
        table = self._table()
        table.attrs["units"] = {column.name: column.units for column in self._columns()}
        return table if columns is None else table.loc[:, list(columns)]

    def read_xarray(self, variables: Iterable[str] | None = None) -> Any:
        """Return scalars and images as an `xarray.Dataset`, once the run has stopped."""
        wanted = self._var_keys if variables is None else set(variables)
        return super().read(variables=wanted)

    def tail(self, start: int) -> pd.DataFrame:
        """Return the scalars of events from the 0-based number `start` on, as `read` does.

        Only these are asked of the server, so that one who watches can ask often.
        """
        node = self.base[ROWS] if ROWS in self.get_contents() else None
        if node is None:
            return self.read().iloc[start:]
        if start >= node.shape[0]:  # nothing new, which is not worth a request
            return decode(np.empty((0, node.shape[1])), node.metadata)
        return decode(np.asarray(node[start : node.shape[0]]), node.metadata)

    @property
    def images(self) -> dict[str, Any]:
        """Return the clients of the arrays that are there, by name; axis 0 is the event."""
        contents = self.get_contents()
        names = [array.name for array in array_keys(self._data_keys())]
        return {name: self.base[name] for name in names if name in contents}

    @property
    def image_units(self) -> dict[str, str]:
        """Return the units of the arrays."""
        keys = self._data_keys()
        return {array.name: keys[array.name].get("units") or "" for array in array_keys(keys)}

    @property
    def live(self) -> bool:
        """Tell whether the table of the finished run is not there yet."""
        return TABLE not in self.get_contents()

    def __getitem__(self, key: Any, _ignore_inlined_contents: bool = False) -> Any:
        """Return a column by its name, or the client of an array."""
        name = "/".join(key) if isinstance(key, tuple) else key
        for column in self._columns():
            if column.name == name:
                return OperandoColumn(self, column)
        return Container.__getitem__(self.base, name)

    @property
    def _flat_keys_mapping(self) -> dict[str, str]:
        keys = {column.name: f"{TABLE}/{column.name}" for column in self._columns()}
        contents = self.get_contents()
        arrays = (array.name for array in array_keys(self._data_keys()))
        return keys | {name: name for name in arrays if name in contents}

    def _columns(self) -> tuple[Column, ...]:
        return scalar_columns(self._data_keys())

    def _data_keys(self) -> Mapping[str, Mapping[str, Any]]:
        return cast("Mapping[str, Mapping[str, Any]]", self.metadata["data_keys"])

    def _table(self) -> pd.DataFrame:
        contents = self.get_contents()
        if TABLE in contents:
            table = self.base[TABLE].read()
            strings = [c.name for c in self._columns() if c.kind == "string"]
            plain = [name for name in table.columns if not name.startswith(STAMP)]
            return table.loc[:, plain].astype(dict.fromkeys(strings, object))
        if ROWS in contents:
            node = self.base[ROWS]
            # named rows: "all" would be refused (for 45 s) if the array grew in the meantime
            return decode(np.asarray(node[: node.shape[0]]), node.metadata)
        return decode(np.empty((0, len(self._columns()))), Coder(self._columns()).metadata())


class OperandoColumn:
    """One scalar of a stream, for all events.

    Parameters
    ----------
    stream : the stream.
    column : which column of it.
    """

    def __init__(self, stream: OperandoStream, column: Column) -> None:
        self._stream = stream
        self.name = column.name
        self.units = column.units

    def read(self, slice: Any = None) -> NDArray[Any]:  # noqa: A002 - the name Tiled uses
        """Return the values of all events, or of a slice of them."""
        values = self._stream.read([self.name])[self.name].to_numpy()
        return values if slice is None else values[slice]

    def __getitem__(self, slice: Any) -> NDArray[Any]:  # noqa: A002
        return self.read(slice)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.read(), dtype=dtype, copy=copy is not False)

    def __len__(self) -> int:
        return len(self.read())

    def __repr__(self) -> str:
        return f"<OperandoColumn {self.name!r} units={self.units!r}>"
