"""Rows of a stream as they arrive in any order."""

from __future__ import annotations

import numpy as np
import pytest

from operando.callbacks.tiled.rows import Coder, scalar_columns
from operando.streamer.service.dashboard.messages import (
    StreamBoard,
    first_missing,
    place,
    unknown_words,
)

KEYS = {
    "status": {"dtype": "string", "shape": []},
    "energy": {"dtype": "number", "shape": [], "units": "eV"},
}


@pytest.fixture
def coder() -> Coder:
    return Coder(scalar_columns(KEYS))


def board(coder: Coder) -> StreamBoard:
    return StreamBoard(name="frames", meaning=coder.metadata())


def row(coder: Coder, number: int, status: str = "aligned") -> np.ndarray:
    return coder.encode(number, 5.0, {"status": status, "energy": 8300.0 + number})


def test_rows_are_placed_by_index_and_written_over(coder):
    known = place(board(coder), 0, np.stack([row(coder, 1), row(coder, 2)]))
    known = place(known, 1, np.stack([row(coder, 7), row(coder, 3)]))
    assert known.rows[:, 0].tolist() == [1, 7, 3]
    assert known.count == 3
    assert first_missing(known) == 3


def test_a_gap_is_known_until_it_is_filled(coder):
    known = place(board(coder), 0, row(coder, 1)[None])
    ahead = place(known, 3, row(coder, 4)[None])
    assert first_missing(ahead) == 1
    assert np.isnan(ahead.rows[1:3]).all()
    filled = place(ahead, 1, np.stack([row(coder, 2), row(coder, 3)]))
    assert first_missing(filled) == 4
    assert known.count == 1  # what was known before is left as it was


def test_rows_that_the_server_only_made_room_for_are_missing(coder):
    known = place(board(coder), 0, np.vstack([row(coder, 1), np.zeros(4)]))
    assert first_missing(known) == 1


def test_words_that_were_not_announced_are_noticed(coder):
    coder.encode(1, 0.0, {"status": "aligned"})
    known = board(coder)
    assert not unknown_words(known, row(coder, 1, "aligned")[None])
    assert unknown_words(known, row(coder, 2, "degraded")[None])


def test_rows_of_another_width_are_refused(coder):
    with pytest.raises(ValueError, match=r"4 columns, got shape \(1, 3\)"):
        place(board(coder), 0, np.zeros((1, 3)))
