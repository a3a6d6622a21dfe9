"""The Tiled sink against a real server in its own process."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from tiled.client import from_uri
from tiled.client.container import Container

from operando.callbacks.sinks.buffer import BufferedSink
from operando.callbacks.tiled.client import OperandoStream
from operando.callbacks.tiled.sink import TiledSink
from operando.streamer.io.tiled.settings import TiledSettings
from operando.streamer.service.tiled_server import EmbeddedTiled

pytestmark = pytest.mark.system

Documents = list[tuple[str, dict[str, Any]]]


@pytest.fixture(params=["hdf5", "http"])
def settings(request: pytest.FixtureRequest, tiled_server: EmbeddedTiled) -> TiledSettings:
    """Both ways for images to reach the server."""
    folder = str(tiled_server.frames_dir) if request.param == "hdf5" else None
    return TiledSettings(frames=request.param, frames_dir=folder, first_rows_s=0, tick_s=0.05)


@pytest.fixture
def root(tiled_server: EmbeddedTiled) -> Iterator[Container]:
    client = from_uri(tiled_server.uri)
    yield client
    client.context.close()


@pytest.fixture
def make_sink(tiled_server: EmbeddedTiled) -> Iterator[Callable[..., TiledSink]]:
    """Sinks that are closed after the test, with the connections they opened."""
    made: list[TiledSink] = []

    def make(settings: TiledSettings, target: Any = None) -> TiledSink:
        made.append(TiledSink(tiled_server.uri if target is None else target, settings))
        return made[-1]

    yield make
    for sink in made:
        sink.close()


def give(sink: Any, documents: Documents) -> None:
    for name, doc in documents:
        sink(name, doc)


def events(documents: Documents, key: str) -> list[dict[str, Any]]:
    return [doc["data"] for name, doc in documents if name == "event" and key in doc["data"]]


def table(documents: Documents, key: str) -> pd.DataFrame:
    rows = [{k: v for k, v in data.items() if k != key} for data in events(documents, key)]
    return pd.DataFrame(rows)


def stack(documents: Documents, key: str) -> np.ndarray:
    return np.stack([data[key] for data in events(documents, key)])


def same(found: pd.DataFrame, documents: Documents, key: str) -> None:
    wanted = table(documents, key)
    pd.testing.assert_frame_equal(found[wanted.columns], wanted, check_dtype=False)


def test_run_is_readable_while_open_and_after_its_stop(
    settings: TiledSettings,
    root: Container,
    make_sink: Callable[..., TiledSink],
    documents: Callable[..., Documents],
) -> None:
    docs = documents(6)
    uid = docs[0][1]["uid"]
    sink = make_sink(settings)
    give(sink, docs[:-1])
    assert sink.flush(20)
    run = root[uid]
    assert "stop" not in run.metadata
    assert isinstance(run["particles"], OperandoStream)
    assert run["particles"].live
    same(run["particles"].read(), docs, "roi")
    same(run["frames"].read(), docs, "aligned")
    np.testing.assert_array_equal(run["frames"]["aligned"].read(), stack(docs, "aligned"))
    np.testing.assert_array_equal(run["particles"]["roi"].read(), stack(docs, "roi"))
    assert run["frames"].base["preview"].dtype == np.uint8

    give(sink, docs[-1:])
    assert sink.flush(20)
    run = root[uid]
    assert run.metadata["stop"]["num_events"] == {"frames": 6, "particles": 18}
    assert not run["particles"].live
    same(run["particles"].read(), docs, "roi")
    y = run["particles"]["y"]
    np.testing.assert_array_equal(np.asarray(y), table(docs, "roi")["y"])
    assert y.units == "px"
    assert run["particles"].read(["state"])["state"].iloc[0] == "tentative"


def test_layout_and_metadata_follow_the_contract(
    tiled_server: EmbeddedTiled,
    root: Container,
    make_sink: Callable[..., TiledSink],
    documents: Callable[..., Documents],
) -> None:
    docs = documents(2)
    sink = make_sink(TiledSettings(frames_dir=str(tiled_server.frames_dir)))
    give(sink, docs)
    assert sink.flush(20)
    run = root[docs[0][1]["uid"]].base
    assert [(s.name, s.version) for s in run.specs] == [
        ("BlueskyRun", "3.0"),
        ("OperandoRun", "1.0"),
    ]
    assert run.metadata["start"]["original_run_uid"] == "raw"
    stream = run["frames"].base
    assert {s.name for s in stream.specs} == {"OperandoStream", "BlueskyEventStream", "composite"}
    assert stream.metadata["data_keys"]["energy"]["units"] == "eV"
    assert set(stream) == {"aligned", "rows", "preview", "internal"}
    rows = stream["rows"]
    assert rows.metadata["columns"][:3] == ["seq_num", "time", "frame"]
    assert rows.metadata["units"]["latency"] == "s"
    assert rows.metadata["codes"]["status"] == ["aligned"]
    assert rows.shape == (2, len(rows.metadata["columns"]))
    assert rows.dtype == np.float64


def test_stock_clients_read_a_finished_run(
    tiled_server: EmbeddedTiled,
    root: Container,
    make_sink: Callable[..., TiledSink],
    documents: Callable[..., Documents],
) -> None:
    docs = documents(3)
    uid = docs[0][1]["uid"]
    sink = make_sink(TiledSettings(frames_dir=str(tiled_server.frames_dir)))
    give(sink, docs)
    assert sink.flush(20)
    clients = dict(without_ours(root.structure_clients))
    stock = Container(root.context, item=root.item, structure_clients=clients)
    stream = stock[uid]["particles"]
    assert type(stream).__name__ == "BlueskyEventStreamV3"
    dataset = stream.read()
    np.testing.assert_array_equal(dataset["y"], table(docs, "roi")["y"])
    np.testing.assert_array_equal(stream["y"].read(), table(docs, "roi")["y"])
    assert dataset["roi"].shape == (9, 8, 8)
    names = [name for name, _ in root[uid].documents()]
    assert names.count("event") == 12
    assert names[0] == "start"
    assert names[-1] == "stop"


def without_ours(clients: Any) -> Iterator[tuple[str, Any]]:
    for key in clients:
        if key != "OperandoStream":
            yield key, clients[key]


def test_files_are_used_only_where_the_server_reads_them(
    tmp_path: Path,
    tiled_server: EmbeddedTiled,
    root: Container,
    make_sink: Callable[..., TiledSink],
    documents: Callable[..., Documents],
) -> None:
    for folder, mimetype in (
        (tiled_server.frames_dir, "application/x-hdf5"),
        (tmp_path, "application/x-zarr"),
    ):
        docs = documents(3)
        sink = make_sink(TiledSettings(frames="auto", frames_dir=str(folder)))
        give(sink, docs)
        assert sink.flush(20)
        run = root.new_variation(include_data_sources=True)[docs[0][1]["uid"]]
        node = run["frames"]["aligned"]
        assert node.data_sources()[0].mimetype == mimetype
        external = run["frames"].metadata["data_keys"]["aligned"].get("external")
        assert (external == "STREAM:") == (mimetype == "application/x-hdf5")
        np.testing.assert_array_equal(node.read(), stack(docs, "aligned"))


def snapshot(folder: Path) -> dict[str, str]:
    files = [p for p in folder.rglob("*") if p.is_file() and p.parent != folder]
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_a_repeated_run_leaves_the_server_as_it_is(
    tiled_server: EmbeddedTiled,
    root: Container,
    make_sink: Callable[..., TiledSink],
    documents: Callable[..., Documents],
) -> None:
    uid = str(uuid.uuid4())
    settings = TiledSettings(frames="hdf5", frames_dir=str(tiled_server.frames_dir))
    first = make_sink(settings)
    give(first, documents(5, uid=uid))
    assert first.flush(20)
    before = snapshot(tiled_server.directory)
    metadata = dict(root[uid].metadata)
    second = make_sink(settings)
    give(second, documents(5, uid=uid))
    assert second.flush(20)
    assert snapshot(tiled_server.directory) == before
    assert dict(root[uid].metadata) == metadata
    assert second.counts.errors == 0


def test_a_resumed_run_is_continued_and_equals_an_unbroken_one(
    settings: TiledSettings,
    root: Container,
    make_sink: Callable[..., TiledSink],
    documents: Callable[..., Documents],
) -> None:
    docs = documents(8)
    uid = docs[0][1]["uid"]
    opening, body, stop = docs[:3], docs[3:-1], docs[-1:]
    first = make_sink(settings)
    give(first, opening + body[:18])
    assert first.flush(20)
    first.close()
    second = make_sink(settings)
    give(second, opening + body[10:] + stop)
    assert second.flush(20)
    run = root[uid]
    same(run["particles"].read(), docs, "roi")
    same(run["frames"].read(), docs, "aligned")
    np.testing.assert_array_equal(run["frames"]["aligned"].read(), stack(docs, "aligned"))
    np.testing.assert_array_equal(run["particles"]["roi"].read(), stack(docs, "roi"))


def test_a_repeat_with_other_values_overwrites(
    settings: TiledSettings,
    root: Container,
    make_sink: Callable[..., TiledSink],
    documents: Callable[..., Documents],
) -> None:
    uid = str(uuid.uuid4())
    sink = make_sink(settings)
    give(sink, documents(4, uid=uid, seed=1))
    assert sink.flush(20)
    docs = documents(6, uid=uid, seed=2)
    give(sink, docs)
    assert sink.flush(20)
    same(root[uid]["frames"].read(), docs, "aligned")
    np.testing.assert_array_equal(root[uid]["frames"]["aligned"].read(), stack(docs, "aligned"))
    assert root[uid].metadata["stop"]["num_events"]["frames"] == 6


def test_interleaved_runs_do_not_mix(
    settings: TiledSettings,
    root: Container,
    make_sink: Callable[..., TiledSink],
    documents: Callable[..., Documents],
) -> None:
    both = documents(4, seed=1), documents(4, seed=2, shape=(10, 12))
    sink = make_sink(settings)
    for pair in zip(*both, strict=True):
        give(sink, list(pair))
    assert sink.flush(20)
    for docs in both:
        run = root[docs[0][1]["uid"]]
        same(run["particles"].read(), docs, "roi")
        np.testing.assert_array_equal(run["frames"]["aligned"].read(), stack(docs, "aligned"))


def test_subscriber_sees_every_row_and_the_end_of_the_stream(
    tiled_server: EmbeddedTiled,
    root: Container,
    make_sink: Callable[..., TiledSink],
    documents: Callable[..., Documents],
) -> None:
    docs = documents(10)
    sink = make_sink(
        TiledSettings(
            frames="hdf5", frames_dir=str(tiled_server.frames_dir), first_rows_s=0, tick_s=0.01
        )
    )
    give(sink, docs[:7])
    assert sink.flush(20)
    seen: dict[int, float] = {}
    frames: set[int] = set()
    ended = threading.Event()

    def on_rows(update: Any) -> None:
        seen.update({int(row[0]): float(row[2]) for row in update.data()})

    def on_frames(update: Any) -> None:
        start = update.patch.offset[0]
        frames.update(range(start, start + update.patch.shape[0]))

    def on_end(_: Any) -> None:
        ended.set()

    stream = root[docs[0][1]["uid"]]["frames"]
    rows, aligned = stream.base["rows"].subscribe(), stream["aligned"].subscribe()
    rows.new_data.add_callback(on_rows)
    rows.stream_closed.add_callback(on_end)
    aligned.new_data.add_callback(on_frames)
    for subscription in (rows, aligned):
        subscription.start_in_thread(0, max_size=50_000_000)
    give(sink, docs[7:])
    assert sink.flush(20)
    assert ended.wait(10)
    deadline = time.monotonic() + 5
    while len(frames) < 10 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert seen == {i + 1: float(i) for i in range(10)}
    assert frames == set(range(10))
    for subscription in (rows, aligned):
        subscription.disconnect()


@pytest.mark.slow
def test_a_server_that_dies_and_returns_loses_nothing(
    tmp_path: Path, make_sink: Callable[..., TiledSink], documents: Callable[..., Documents]
) -> None:
    docs = documents(9)
    uid = docs[0][1]["uid"]
    server = EmbeddedTiled(tmp_path)
    server.start()
    try:
        settings = TiledSettings(
            frames="hdf5", frames_dir=str(server.frames_dir), retry_s=(0.1, 0.5), first_rows_s=0
        )
        sink = make_sink(settings, server.uri)
        buffered = BufferedSink(sink)
        give(buffered, docs[:15])
        assert buffered.flush(20)
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        server.stop()
        give(buffered, docs[15:])
        assert not buffered.flush(2)
        assert sink.counts.errors > 0
        assert sink.counts.pending > 0
        with h5py.File(tmp_path / "frames" / uid / "frames-aligned.h5", "r", swmr=True) as file:
            np.testing.assert_array_equal(file["/entry/data/data"][:], stack(docs, "aligned"))
        server.start()
        assert buffered.flush(30)
        assert buffered.close()
        client = from_uri(server.uri)
        same(client[uid]["particles"].read(), docs, "roi")
        np.testing.assert_array_equal(
            client[uid]["frames"]["aligned"].read(), stack(docs, "aligned")
        )
        client.context.close()
    finally:
        server.stop()


def test_a_run_that_vanishes_from_the_server_is_begun_again(
    tiled_server: EmbeddedTiled,
    root: Container,
    make_sink: Callable[..., TiledSink],
    documents: Callable[..., Documents],
) -> None:
    docs = documents(4)
    uid = docs[0][1]["uid"]
    sink = make_sink(
        TiledSettings(
            frames="hdf5", frames_dir=str(tiled_server.frames_dir), first_rows_s=0, tick_s=0.01
        )
    )
    give(sink, docs[:11])
    assert sink.flush(20)
    root[uid].delete(recursive=True, external_only=False)
    give(sink, docs[11:])
    assert sink.flush(20)
    assert sink.counts.errors >= 1
    frames = root[uid]["frames"]
    np.testing.assert_array_equal(frames["aligned"].read(), stack(docs, "aligned"))
    assert frames.read()["frame"].tolist() == [2, 3]


def test_orphans_and_wrong_shapes_are_counted_not_raised(
    settings: TiledSettings,
    root: Container,
    make_sink: Callable[..., TiledSink],
    documents: Callable[..., Documents],
) -> None:
    docs = documents(3)
    sink = make_sink(settings)
    give(sink, documents(1)[1:])
    assert sink.counts.orphans == 7
    docs[-2][1]["data"]["aligned"] = np.zeros((2, 2), np.float32)
    give(sink, docs)
    assert sink.flush(20)
    assert sink.counts.images_refused == 1
    aligned = root[docs[0][1]["uid"]]["frames"]["aligned"].read()
    assert aligned.shape[0] == 3
    assert np.isnan(aligned[2]).all()


def test_any_stream_is_written_from_its_descriptor(
    settings: TiledSettings, root: Container, make_sink: Callable[..., TiledSink]
) -> None:
    import event_model

    run = event_model.compose_run(time=1.0)
    number = {"source": "o", "dtype": "number", "shape": [], "units": "px"}
    image = {"source": "o", "dtype": "array", "dtype_numpy": "<f8", "shape": [4, 5]}
    keys = {
        "message": {"source": "o", "dtype": "string", "shape": []},
        "acted": {"source": "o", "dtype": "boolean", "shape": []},
        "move_y": number,
        "fraction": image,
        "fraction_sigma": image,
    }
    stream = run.compose_descriptor(name="advice", data_keys=keys)  # pyright: ignore[reportArgumentType]
    sink = make_sink(settings)
    sink("start", dict(run.start_doc))
    sink("descriptor", dict(stream.descriptor_doc))
    for i in range(3):
        data = {
            "message": f"move {i}",
            "acted": i == 1,
            "move_y": np.nan if i == 0 else float(i),
            "fraction": np.full((4, 5), i, np.float64),
            "fraction_sigma": np.full((4, 5), -i, np.float64),
        }
        event = stream.compose_event(data=data, timestamps=dict.fromkeys(data, 1.0), time=1.0 + i)
        sink("event", dict(event))
        assert sink.flush(20)
    sink("stop", dict(run.compose_stop(time=9.0)))
    assert sink.flush(20)
    node = root[run.start_doc["uid"]]["advice"]
    found = node.read()
    assert found["message"].tolist() == ["move 0", "move 1", "move 2"]
    assert found["acted"].tolist() == [False, True, False]
    assert np.isnan(found["move_y"][0])
    assert node["fraction_sigma"][2, 0, 0] == -2.0


@pytest.mark.parametrize("settings", ["hdf5"], indirect=True)
def test_images_begun_in_a_file_are_left_alone_by_a_sink_without_it(
    settings: TiledSettings,
    root: Container,
    make_sink: Callable[..., TiledSink],
    documents: Callable[..., Documents],
) -> None:
    docs = documents(4)
    give(make_sink(settings), docs)
    over_http = settings.model_copy(update={"frames": "auto", "frames_dir": None})
    sink = make_sink(over_http)
    give(sink, docs)
    assert sink.flush(20)
    assert sink.counts.pending == 0
    assert sink.counts.images_refused > 0
    run = root[docs[0][1]["uid"]]
    same(run["particles"].read(), docs, "roi")
    np.testing.assert_array_equal(run["frames"]["aligned"].read(), stack(docs, "aligned"))
