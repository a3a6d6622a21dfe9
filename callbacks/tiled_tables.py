"""The finished numbers of a stream as one Parquet table.

It is named and laid out as bluesky's own writer does it (``internal``: ``seq_num``, ``time``,
the data keys and ``ts_<key>``), so that stock clients and the document exporter understand it.
Result events carry one time for all their keys; ``ts_<key>`` repeats it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tiled.client.container import Container
from tiled.structures.table import TableStructure

from .tiled_columns import RESERVED, TIME, decode
from .tiled_http import TiledConnection

TABLE = "internal"
STAMP = "ts_"


def table_of(rows: NDArray[np.float64], metadata: Mapping[str, Any]) -> pd.DataFrame:
    """Table of all scalar columns, decoded, with a time stamp column for each."""
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
