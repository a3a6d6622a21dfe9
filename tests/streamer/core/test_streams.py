"""Documents of results into rows."""

from __future__ import annotations

from operando.streamer.core.streams import Streams, rows_of, stream_of


def descriptor(uid, run, name):
    return "descriptor", {"uid": uid, "run_start": run, "name": name}


def test_a_stop_closes_the_streams_of_its_run_only():
    streams = Streams()
    for document in (descriptor("a", "one", "frames"), descriptor("b", "two", "frames")):
        streams = streams.updated(*document)
    assert streams.of({"descriptor": "a"}) == ("one", "frames")
    streams = streams.updated("stop", {"run_start": "one"})
    assert streams.of({"descriptor": "a"}) == ("", "")
    assert streams.of({"descriptor": "b"}) == ("two", "frames")


def test_rows_are_collected_by_stream_and_known_by_their_keys(result_documents):
    rows = rows_of(result_documents)
    assert len(rows["frames"]) == sum("ledger_received" in row for row in rows["frames"])
    for stream in ("frames", "particles"):
        assert {stream_of(row) for row in rows[stream]} == {stream}
