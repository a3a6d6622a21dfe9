"""Scalars as numbers and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from operando.callbacks.tiled.rows import Coder, array_keys, decode, scalar_columns

KEYS: dict[str, Any] = {
    "particle": {"dtype": "integer", "shape": []},
    "y": {"dtype": "number", "shape": [], "units": "px"},
    "state": {"dtype": "string", "shape": []},
    "acted": {"dtype": "boolean", "shape": []},
    "roi": {"dtype": "array", "dtype_numpy": "<f4", "shape": [3, 4]},
}

ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "particle": st.integers(-(2**53), 2**53),
            "y": st.floats(allow_nan=False),
            "state": st.text(),
            "acted": st.booleans(),
        }
    ),
    min_size=1,
    max_size=8,
)


@given(ROWS)
def test_what_is_encoded_is_decoded(events: list[dict[str, Any]]) -> None:
    coder = Coder(scalar_columns(KEYS))
    rows = np.stack([coder.encode(i + 1, 5.0, data) for i, data in enumerate(events)])
    table = decode(rows, coder.metadata())
    assert table[["particle", "y", "state", "acted"]].to_dict("records") == events
    assert table["seq_num"].tolist() == list(range(1, len(events) + 1))


def test_columns_and_arrays_are_told_apart() -> None:
    columns = scalar_columns(KEYS)
    assert [c.name for c in columns] == ["seq_num", "time", "particle", "y", "state", "acted"]
    assert columns[3].units == "px"
    assert [(a.name, a.shape) for a in array_keys(KEYS)] == [("roi", (3, 4))]


def test_missing_values_and_unwritten_rows_do_not_pass_for_numbers() -> None:
    coder = Coder(scalar_columns(KEYS))
    row = coder.encode(2, 5.0, {"y": None, "particle": 3})
    table = decode(np.stack([np.zeros_like(row), row]), coder.metadata())
    assert table["seq_num"].tolist() == [2]
    assert np.isnan(table["y"][0])
    assert table["state"][0] is None


def test_a_code_table_of_the_server_is_continued() -> None:
    coder = Coder(scalar_columns(KEYS))
    coder.adopt({"state": ["lost", "tracked"]})
    assert coder.encode(1, 0.0, {"state": "tracked"})[4] == 1
    assert coder.encode(2, 0.0, {"state": "retired"})[4] == 2
    assert coder.metadata()["codes"]["state"] == ["lost", "tracked", "retired"]
