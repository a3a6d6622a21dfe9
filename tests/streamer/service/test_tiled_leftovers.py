"""What a killed Tiled server leaves of an array must not stand in the way for ever."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import zarr
from tiled.client import from_uri
from tiled.client import utils as tiled_client_utils

from operando.callbacks.sinks.protocols import Sink
from operando.callbacks.tiled.sink import TiledSink
from operando.streamer.service.tiled_server import EmbeddedTiled, remove_leftovers

pytestmark = pytest.mark.system

RUN = "11111111-2222-4333-8444-555555555555"


def leave(folder: Path, chunks: int = 0) -> Path:
    """What is there when Tiled is killed between making an array and committing its node."""
    array = zarr.create_array(str(folder), shape=(4, 3), chunks=(1, 3), dtype="f8")
    for i in range(chunks):
        array[i] = i + 1.0
    return folder


def feed(sink: Sink) -> None:
    sink("start", {"uid": RUN, "time": 0.0})
    keys = {"frame": {"dtype": "integer", "shape": [], "source": "test"}}
    sink(
        "descriptor",
        {"uid": "d", "run_start": RUN, "name": "frames", "time": 0.0, "data_keys": keys},
    )
    event = {"uid": "e", "descriptor": "d", "seq_num": 1, "time": 1.0, "timestamps": {}}
    sink("event", {**event, "data": {"frame": 7}})
    sink("stop", {"uid": "s", "run_start": RUN, "time": 2.0, "exit_status": "success"})


def test_an_array_whose_creation_was_killed_is_created_after_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiled_client_utils, "TILED_RETRY_ATTEMPTS", 1)
    server = EmbeddedTiled(tmp_path)
    with server, closing(TiledSink(server.uri)) as sink:
        rows = leave(tmp_path / "data" / RUN / "frames" / "rows")
        feed(sink)
        assert not sink.flush(1.0)
        assert f"an empty folder {RUN}/frames/rows was left" in sink.counts.last_error
        server.stop()
        server.start()
        assert sink.flush(30.0)
        client = from_uri(server.uri)
        assert client[RUN]["frames"]["rows"].read()[0, 2] == 7
        client.context.close()
        assert rows.exists()


def test_nothing_that_the_catalogue_knows_and_no_data_is_removed(tmp_path: Path) -> None:
    server = EmbeddedTiled(tmp_path)
    with server:
        client = from_uri(server.uri)
        client.write_array(np.arange(3.0), key="with data")
        client.context.close()
    data = tmp_path / "data"
    shutil.rmtree(data / "with+data" / "c")  # an array of the catalogue without a chunk
    written = leave(data / "run" / "written", chunks=1)
    empty = leave(data / "run" / "empty")
    assert remove_leftovers(tmp_path) == [empty]
    assert not empty.exists()
    assert (data / "with+data" / "zarr.json").exists()
    assert np.array_equal(zarr.open_array(str(written))[0], [1, 1, 1])
    assert remove_leftovers(tmp_path) == []


def test_without_a_catalogue_nothing_is_touched(tmp_path: Path) -> None:
    folder = leave(tmp_path / "data" / "array")
    assert remove_leftovers(tmp_path) == []
    assert folder.exists()
