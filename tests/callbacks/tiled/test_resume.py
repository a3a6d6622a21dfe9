"""A run in Tiled that one process begins and another ends, the first having been killed."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tiled.client import from_uri
from tiled.client.container import Container

from operando.callbacks.tiled.sink import TiledSink
from operando.streamer.io.tiled.settings import TiledSettings
from operando.streamer.service.tiled_server import EmbeddedTiled

pytestmark = pytest.mark.system


@pytest.fixture
def root(tiled_server: EmbeddedTiled) -> Iterator[Container]:
    client = from_uri(tiled_server.uri)
    yield client
    client.context.close()


WRITER = """
import json, pickle, sys, time
from pathlib import Path
from operando.callbacks.sinks.buffer import BufferedSink
from operando.callbacks.tiled.sink import TiledSink
from operando.streamer.io.tiled.settings import TiledSettings
uri, documents, settings = sys.argv[1:]
sink = BufferedSink(TiledSink(uri, TiledSettings.model_validate_json(settings)))
for name, doc in pickle.loads(Path(documents).read_bytes()):
    sink(name, doc)
    time.sleep(0.002)
    print(sink.confirmed, flush=True)
while True:
    time.sleep(0.01)
    print(sink.confirmed, flush=True)
"""


@pytest.mark.parametrize("frames", ["hdf5", "http"])
def test_a_run_of_a_killed_process_is_continued_from_what_was_confirmed(
    frames: str,
    tmp_path: Path,
    tiled_server: EmbeddedTiled,
    root: Container,
    documents: Callable[..., list[tuple[str, dict[str, Any]]]],
) -> None:
    docs = documents(60, particles=2, shape=(64, 64))
    settings = TiledSettings.model_validate(
        {
            "frames": frames,
            "frames_dir": str(tiled_server.frames_dir) if frames == "hdf5" else None,
            "first_rows_s": 0.0,
            "tick_s": 0.02,
        }
    )
    path = tmp_path / "documents"
    path.write_bytes(pickle.dumps(docs[:-1]))
    confirmed = 0
    for goal in (40, 90, 130):  # killed three times, in the middle of its work
        path.write_bytes(pickle.dumps(docs[:3] + docs[max(3, confirmed) : -1]))
        skipped = max(3, confirmed) - 3
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, tiled_server.uri, str(path), settings.model_dump_json()],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert child.stdout is not None
            for line in child.stdout:
                if int(line) > 3:
                    confirmed = skipped + int(line)
                if confirmed >= goal:
                    break
            time.sleep(0.03)
        finally:
            child.send_signal(signal.SIGKILL)
            child.communicate()
        assert goal <= confirmed < len(docs)
    sink = TiledSink(tiled_server.uri, settings)
    rest = docs[:3] + docs[confirmed:]
    for name, doc in rest:
        sink(name, doc)
    assert sink.flush(30)
    assert sink.confirmed == len(rest)
    sink.close()

    run = root[docs[0][1]["uid"]]
    events = [doc["data"] for name, doc in docs if name == "event"]
    for stream, key in (("frames", "aligned"), ("particles", "roi")):
        wanted = [data for data in events if key in data]
        table = pd.DataFrame([{k: v for k, v in d.items() if k != key} for d in wanted])
        found = run[stream].read()
        assert found["seq_num"].tolist() == list(range(1, len(wanted) + 1))
        pd.testing.assert_frame_equal(found[table.columns], table, check_dtype=False)
        images = run[stream][key].read()
        assert not np.isnan(images).any()
        np.testing.assert_array_equal(images, np.stack([d[key] for d in wanted]))
    assert run.metadata["stop"]["num_events"] == {"frames": 60, "particles": 120}


def test_images_of_a_dead_writer_that_nobody_was_told_of_become_known(
    tiled_server: EmbeddedTiled,
    root: Container,
    documents: Callable[..., list[tuple[str, dict[str, Any]]]],
) -> None:
    docs = documents(6, particles=0)
    settings = TiledSettings(
        frames="hdf5", frames_dir=str(tiled_server.frames_dir), first_rows_s=0, tick_s=0.01
    )
    first = TiledSink(tiled_server.uri, settings)
    for name, doc in docs[:5]:
        first(name, doc)
    assert first.flush(20)
    first._due = float("inf")  # killed after it wrote to the file, and before it told the server
    for name, doc in docs[5:8]:
        first(name, doc)
    for run in first._runs.values():
        run.write_files()
    first.close()
    second = TiledSink(tiled_server.uri, settings)
    for name, doc in docs[:3] + docs[5:8]:
        second(name, doc)
    assert second.flush(20)
    node = root[docs[0][1]["uid"]]["frames"]["aligned"]
    assert node.shape[0] == 5
    np.testing.assert_array_equal(node[4], docs[7][1]["data"]["aligned"])
    second.close()


def test_a_run_of_which_only_the_stop_is_missing_gets_its_table_with_all_its_words(
    tiled_server: EmbeddedTiled,
    root: Container,
    documents: Callable[..., list[tuple[str, dict[str, Any]]]],
) -> None:
    docs = documents(6)
    settings = TiledSettings(first_rows_s=0, tick_s=0.01)
    for given in (docs[:-1], [*docs[:3], docs[-1]]):
        sink = TiledSink(tiled_server.uri, settings)
        for name, doc in given:
            sink(name, doc)
        assert sink.flush(20)
        sink.close()
    run = root[docs[0][1]["uid"]]
    assert not run["frames"].live
    status = run["frames"].read()["status"].tolist()
    assert status == ["aligned"] * 3 + ["degraded", "aligned", "aligned"]
