"""The Tiled sink while a real server misbehaves, behind its queue and its spool."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tiled.client import from_uri
from tiled.client.container import Container

from operando.callbacks.sinks.buffer import BufferedSink
from operando.callbacks.sinks.spool import Spool
from operando.callbacks.tiled import frame_file
from operando.callbacks.tiled.sink import TiledSink
from operando.streamer.io.tiled.settings import TiledSettings
from operando.streamer.service.tiled_server import EmbeddedTiled

pytestmark = pytest.mark.system

Documents = list[tuple[str, dict[str, Any]]]
SHAPE = (100, 100)
QUICK = {
    "first_rows_s": 0.0,
    "tick_s": 0.02,
    "tick_max_s": 0.1,
    "retry_s": (0.05, 0.2),
    "flush_bytes": 200_000,
}


@pytest.fixture
def root(tiled_server: EmbeddedTiled) -> Iterator[Container]:
    client = from_uri(tiled_server.uri)
    yield client
    client.context.close()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., BufferedSink]]:
    """Sinks with a small queue and a spool."""
    made: list[BufferedSink] = []

    def make(target: str, memory: int = 400_000, **settings: Any) -> BufferedSink:
        sink = TiledSink(target, TiledSettings.model_validate(QUICK | settings))
        made.append(BufferedSink(sink, memory, spool=Spool(tmp_path / "spool")))
        return made[-1]

    yield make
    for sink in made:
        sink.close(0)


def give(sink: BufferedSink, documents: Documents) -> float:
    """Give documents one by one; return the longest time that a call took on this thread."""
    longest = 0.0
    for name, doc in documents:
        began = time.thread_time()
        sink(name, doc)
        longest = max(longest, time.thread_time() - began)
        time.sleep(0.002)
    return longest


def until(ask: Callable[[], Any], timeout: float = 60.0) -> None:
    deadline = time.monotonic() + timeout
    while not ask():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def assert_complete(root: Container, documents: Documents) -> None:
    """Rows once and in order, images bit by bit, and the run closed."""
    run = root[documents[0][1]["uid"]]
    events = [doc["data"] for name, doc in documents if name == "event"]
    for stream, key in (("frames", "aligned"), ("particles", "roi")):
        wanted = [data for data in events if key in data]
        table = pd.DataFrame([{k: v for k, v in d.items() if k != key} for d in wanted])
        found = run[stream].read()
        assert found["seq_num"].tolist() == list(range(1, len(wanted) + 1))
        pd.testing.assert_frame_equal(found[table.columns], table, check_dtype=False)
        np.testing.assert_array_equal(run[stream][key].read(), np.stack([d[key] for d in wanted]))
    assert run.metadata["stop"]["exit_status"] == "success"


def assert_nothing_given_up(sink: BufferedSink) -> None:
    counts, tiled = sink.counts, sink.sink.counts  # type: ignore[attr-defined]
    assert (counts.stripped, counts.dropped, counts.lost, counts.errors) == (0, 0, 0, 0)
    assert (tiled.images_dropped, tiled.images_refused, tiled.pending) == (0, 0, 0)
    assert sink.confirmed == sink.received


@pytest.mark.parametrize("frames", ["hdf5", "http"])
@pytest.mark.parametrize("fault", ["500", "cut", "hang"])
def test_a_server_that_fails_gets_everything_once_and_in_order(
    fault: str,
    frames: str,
    tiled_server: EmbeddedTiled,
    fault_proxy: Any,
    root: Container,
    make: Callable[..., BufferedSink],
    documents: Callable[..., Documents],
) -> None:
    docs = documents(40, particles=2, shape=SHAPE)
    folder = str(tiled_server.frames_dir) if frames == "hdf5" else None
    fault_proxy.delay = 0.6
    timeout = 0.3 if fault == "hang" else 20.0
    fault_proxy.mode = fault
    sink = make(
        fault_proxy.uri(tiled_server.api_key), frames=frames, frames_dir=folder, timeout_s=timeout
    )
    longest = give(sink, docs[:40])  # from the start
    until(lambda: fault_proxy.seen[fault] > 1)
    if fault != "cut":
        until(lambda: sink.sink.counts.errors > 1)  # type: ignore[attr-defined]
        assert sink.confirmed == 0
    sink.sink._connection._timeout = 20.0  # type: ignore[attr-defined]
    fault_proxy.mode = "pass"
    until(lambda: sink.confirmed >= 40)
    fault_proxy.mode = "500" if fault == "hang" else fault  # and once more, in the middle
    longest = max(longest, give(sink, docs[40:-1]))
    if fault != "cut":
        assert sink.confirmed < len(docs) - 1
    fault_proxy.mode = "pass"
    give(sink, docs[-1:])
    assert sink.flush(60)
    assert longest < 0.05
    assert sink.counts.peak_bytes <= 400_000
    assert_complete(root, docs)
    assert_nothing_given_up(sink)
    if fault != "cut":
        assert sink.counts.spooled > 10


def test_a_slow_server_slows_nobody(
    tiled_server: EmbeddedTiled,
    fault_proxy: Any,
    root: Container,
    make: Callable[..., BufferedSink],
    documents: Callable[..., Documents],
) -> None:
    docs = documents(30, particles=2, shape=SHAPE)
    fault_proxy.mode, fault_proxy.delay = "slow", 1.0
    sink = make(fault_proxy.uri(tiled_server.api_key), frames="http")
    began = time.monotonic()
    assert give(sink, docs) < 0.05
    given = time.monotonic() - began
    assert sink.confirmed == 0
    assert given < 30.0  # of which not one s was spent waiting for an answer
    assert sink.counts.blocked < 0.5
    assert sink.counts.spooled > 10
    until(lambda: fault_proxy.seen["slow"] > 2)
    fault_proxy.mode = "pass"
    assert sink.flush(60)
    assert_complete(root, docs)
    assert_nothing_given_up(sink)


def test_a_full_disk_of_the_frames_delays_images_and_loses_none(
    tiled_server: EmbeddedTiled,
    root: Container,
    make: Callable[..., BufferedSink],
    documents: Callable[..., Documents],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    docs = documents(40, particles=2, shape=SHAPE)
    sink = make(
        tiled_server.uri, frames="hdf5", frames_dir=str(tiled_server.frames_dir), flush_bytes=80_000
    )
    give(sink, docs[:40])
    until(lambda: sink.confirmed == 40)
    with monkeypatch.context() as full:
        full.setattr(frame_file, "RESERVE_BYTES", 1 << 60)  # no disk has as much free
        give(sink, docs[40:-1])
        until(lambda: sink.sink.counts.errors > 2)  # type: ignore[attr-defined]
        assert "MB are free; make room" in sink.sink.counts.last_error  # type: ignore[attr-defined]
        assert sink.confirmed < len(docs) - 1
        assert sink.counts.spooled > 0
    give(sink, docs[-1:])
    assert sink.flush(60)
    assert_complete(root, docs)
    assert_nothing_given_up(sink)


def test_one_run_that_cannot_be_written_does_not_hold_up_the_next_for_ever(
    tiled_server: EmbeddedTiled,
    root: Container,
    make: Callable[..., BufferedSink],
    documents: Callable[..., Documents],
) -> None:
    bad, good = documents(20, particles=1, shape=SHAPE), documents(5, particles=1, shape=SHAPE)
    sink = make(
        tiled_server.uri,
        frames="hdf5",
        frames_dir=str(tiled_server.frames_dir),
        patience_s=1.0,
        flush_bytes=80_000,
    )
    folder = tiled_server.frames_dir / bad[0][1]["uid"]
    folder.write_text("in the way")
    give(sink, bad + good)
    until(lambda: root.get(good[0][1]["uid"]) is not None)
    until(lambda: "stop" in root[good[0][1]["uid"]].metadata)
    assert_complete(root, good)
    assert sink.confirmed < len(bad)  # what is missing can still be made again
    assert sink.sink.counts.pending > 0  # type: ignore[attr-defined]
