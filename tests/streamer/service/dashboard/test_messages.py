"""Messages to pages."""

from __future__ import annotations

import json

import numpy as np

from operando.streamer.io.tiled.status import TiledStatus
from operando.streamer.service.dashboard import messages
from operando.streamer.service.dashboard.messages import StreamBoard


def strict(text: str) -> dict:
    """Decode as a browser does: NaN is no JSON."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in JSON")

    return json.loads(text, parse_constant=refuse)


def test_rows_begin_at_a_multiple_of_eight_as_float64_arrays_must():
    for name in ("frames", "particles", "maps"):
        board = StreamBoard(
            name=name,
            meaning={"columns": ["seq_num", "time"], "codes": {}},
            rows=np.array([[1.0, np.nan], [2.0, 3.0], [3.0, 4.0]]),
        )
        payload = messages.rows("run", board, 1, 3)
        length = int.from_bytes(payload[:4], "little")
        header = strict(payload[4 : 4 + length].decode())
        assert (4 + length) % 8 == 0
        expected = {"type": "rows", "run": "run", "stream": name, "start": 1, "columns": 2}
        assert header == expected
        values = np.frombuffer(payload, "<f8", offset=4 + length).reshape(-1, 2)
        np.testing.assert_array_equal(values, board.rows[1:3])


def test_whatever_stands_in_metadata_becomes_plain_and_short():
    start = {"uid": "u", "sample": ["x" * 1000], "time": float("nan"), "scan_id": 3}
    stop = {"exit_status": "fail", "ledger": {"received": 3, "skipped": {"dark": 1}}}
    card = strict(messages.run({"key": "k", "start": start, "stop": stop}))["run"]
    assert len(card["sample"]) <= 300
    assert card["time"] is None
    assert card["scan_id"] == 3
    assert card["stop"]["ledger"] == {"received": 3, "skipped": {"dark": 1}}
    assert strict(messages.run({"key": "k"}))["run"]["stop"] is None


def test_a_trouble_is_told_with_its_remedy():
    told = strict(messages.status(TiledStatus(what="w", remedy="r"), "http://t", pushed=False))
    assert told == {"type": "status", "ok": False, "tiled": "http://t", "how": "polled"} | {
        "what": "w",
        "remedy": "r The processor keeps its results meanwhile; this page tries again by itself.",
    }
