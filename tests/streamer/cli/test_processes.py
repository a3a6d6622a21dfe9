"""Commands as processes: Ctrl-C, servers that are not there, round trips."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack

import numpy as np
import pytest
from tiled.client import from_uri

from operando.callbacks.publisher import FramePublisher
from operando.streamer.io.recording.reader import read_documents
from operando.streamer.io.recording.writer import RecordingWriter
from operando.streamer.lab.rig import Child, start_proxy
from operando.streamer.service.tiled_server import free_port

pytestmark = pytest.mark.system


@pytest.fixture
def start(tmp_path):
    """Start commands; they end with the test."""
    with ExitStack() as stack:

        def command(*arguments, key="", name="command"):
            environment = {"TILED_API_KEY": key} if key else {}
            given = ["-m", "operando.streamer.cli", *map(str, arguments)]
            return stack.enter_context(Child(given, tmp_path / f"{name}.log", environment))

        yield command


@pytest.fixture
def proxy(tmp_path):
    """In and out address of a stock proxy."""
    ports = free_port(), free_port()
    with start_proxy(tmp_path, *ports):
        yield tuple(f"127.0.0.1:{port}" for port in ports)


def interrupt(child, timeout=90):  # a guard against hanging: slow machines take 20 s
    child.process.send_signal(signal.SIGINT)
    status = child.wait(timeout)
    text = child.log.read_text()
    assert "Traceback" not in text
    return status, text


def publish(address, documents):
    publisher = FramePublisher(address)
    assert publisher.wait_connected(20)
    for name, doc in documents:
        publisher(name, doc)
    assert publisher.close(20)


def wait_until(ask, timeout=40.0):
    deadline = time.monotonic() + timeout
    while not ask():
        assert time.monotonic() < deadline, f"not within {timeout} s"
        time.sleep(0.1)


def documents_of(path):
    return [(item.name, item.doc) for item in read_documents(path)]


def test_process_ends_at_ctrl_c_with_its_results_delivered(
    start, proxy, small_run, tiled_server, tmp_path
):
    service = start(
        *("process", "--zmq", proxy[1], "--profile", "sim_txm", "--record", tmp_path / "raw"),
        *("--tiled", tiled_server.base_uri, "--frames-dir", tiled_server.frames_dir),
        key=tiled_server.api_key,
    )
    service.wait_for("ready: subscribed")
    unfinished = [(name, doc) for name, doc in small_run if name != "stop"]
    unfinished[0] = ("start", {**unfinished[0][1], "sample": "unfinished"})
    publish(proxy[0], unfinished)
    client = from_uri(tiled_server.uri)
    raw = unfinished[0][1]["uid"]

    def mine():
        runs = client.values()  # other tests leave theirs on the same server
        return [r for r in runs if r.metadata.get("start", {}).get("original_run_uid") == raw]

    wait_until(mine)
    status, text = interrupt(service)
    assert status == 0, text
    (run,) = mine()
    stop = run.metadata["stop"]
    assert stop["exit_status"] == "fail"
    assert "without a stop" in stop["reason"]
    assert stop["ledger"]["balanced"]
    assert stop["ledger"]["received"] == 5
    assert len(run["frames"].read()) == 10
    client.context.close()
    (recording,) = (tmp_path / "raw").glob("*.msgpack")
    assert [name for name, _ in documents_of(recording)] == [name for name, _ in unfinished]


def test_process_waits_for_proxy_and_tiled_and_says_so(start):
    proxy, tiled = f"127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
    service = start("process", "--zmq", proxy, "--tiled", tiled)
    service.wait_for(f"no proxy answers at {proxy} yet")
    assert service.running
    status, text = interrupt(service)
    assert status == 0, text
    assert f"no Tiled server answers at {tiled}" in text
    assert "results are kept and sent when it can be reached" in text


def test_a_recording_played_to_the_proxy_is_recorded_the_same(start, proxy, small_run, tmp_path):
    original = tmp_path / "original.msgpack"
    with RecordingWriter(original) as writer:
        for name, doc in small_run:
            writer(name, doc)
    recorder = start("record", "--zmq", proxy[1], "-o", tmp_path / "again", name="record")
    recorder.wait_for("ready: subscribed")
    player = start("replay", original, "--speed", "max", "--zmq", proxy[0], name="replay")
    assert player.wait(60) == 0, player.log.read_text()
    assert f"published {len(small_run)} documents" in player.log.read_text()
    wait_until(lambda: list((tmp_path / "again").glob("*.msgpack")))
    (again,) = (tmp_path / "again").glob("*.msgpack")
    wait_until(lambda: len(documents_of(again)) == len(small_run))
    status, text = interrupt(recorder)
    assert status == 0, text
    assert f"wrote {again}" in text.replace("\n", "")
    for (name, doc), (expected_name, expected) in zip(documents_of(again), small_run, strict=True):
        assert name == expected_name
        np.testing.assert_equal(doc, expected)


def test_replay_ends_at_ctrl_c_with_what_it_has(start, small_run, tmp_path):
    original, output = tmp_path / "original.msgpack", tmp_path / "results.msgpack"
    with RecordingWriter(original) as writer:
        for number, (name, doc) in enumerate(small_run):
            writer.write(name, doc, 1e9 + (0 if number < 8 else 1000))
    replay = start("replay", original, "--speed", "1", "--profile", "sim_txm", "-o", output)
    wait_until(lambda: output.exists() and "event" in dict(documents_of(output)))
    status, text = interrupt(replay)
    assert status == 130, text
    results = documents_of(output)
    assert [name for name, _ in results].count("stop") == 1
    assert results[-1][0] == "stop"
    assert results[-1][1]["ledger"]["balanced"]
    assert results[-1][1]["ledger"]["received"] < 5
