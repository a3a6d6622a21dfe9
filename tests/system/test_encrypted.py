"""Publisher, forwarder and subscribers as processes, with keys: outsiders get and give nothing."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack

import pytest

from operando.callbacks.publisher import FramePublisher
from operando.streamer.io.recording.reader import read_documents
from operando.streamer.io.recording.writer import RecordingWriter
from operando.streamer.lab.rig import Child
from operando.streamer.lab.simulate import SimSettings, simulate_documents
from operando.streamer.service.tiled_server import free_port

pytestmark = pytest.mark.system

SETTINGS = SimSettings(
    shape=(160, 160),
    n_particles=3,
    radius_px=(12, 16),
    energies=(8350.0, 8355.0, 8360.0),
    chunk=1,
    jitter_px=0.5,
    drift_px=1.0,
    wander_px=0.5,
)


@pytest.fixture
def start(tmp_path):
    """Start commands; they end with the test."""
    with ExitStack() as stack:

        def command(name, *arguments):
            given = ["-m", "operando.streamer.cli", *map(str, arguments)]
            return stack.enter_context(Child(given, tmp_path / f"{name}.log"))

        yield command


def ended(child, number=signal.SIGTERM):
    child.process.send_signal(number)
    status = child.wait(30)
    text = child.log.read_text()
    assert "Traceback" not in text
    assert status == 0, text
    return text


def test_a_scan_goes_encrypted_from_the_publisher_to_the_results(start, tmp_path):
    keys = tmp_path / "keys"
    made = start("keys", "keys", keys)
    assert made.wait(30) == 0
    assert f"operando process --keys {keys / 'subscriber'}" in made.log.read_text()
    inside, outside = (f"127.0.0.1:{free_port()}" for _ in range(2))
    forwarder = start(
        "forward", "forward", "--in", inside, "--out", outside, "--keys", keys / "forwarder"
    )
    forwarder.wait_for("forwarding encrypted")
    outsider = start("outsider", "record", "--zmq", outside, "-o", tmp_path / "stolen")
    recorder = start(
        "record", "record", "--zmq", outside, "-o", tmp_path / "raw", "--keys", keys / "subscriber"
    )
    service = start(
        *("process", "process", "--zmq", outside, "--profile", "sim_txm", "--runs", "1"),
        *("--keys", keys / "subscriber"),
    )
    recorder.wait_for("ready: subscribed")
    service.wait_for("ready: subscribed", 120)

    forger = FramePublisher(inside)
    for document in simulate_documents(SETTINGS):
        forger(*document)
    assert not forger.wait_connected(1)
    assert not forger.close(0.1)

    documents = list(simulate_documents(SETTINGS))
    with RecordingWriter(tmp_path / "scan.msgpack") as writer:
        for name, doc in documents:
            writer(name, doc)
    player = start(
        *("replay", "replay", tmp_path / "scan.msgpack", "--speed", "max", "--zmq", inside),
        *("--keys", keys / "publisher"),
    )
    assert player.wait(60) == 0, player.log.read_text()
    assert service.wait(60) == 0, service.log.read_text()
    assert "balanced" in service.log.read_text()

    deadline = time.monotonic() + 20
    while not (found := list((tmp_path / "raw").glob("*.msgpack"))):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    ended(recorder)
    assert [item.name for item in read_documents(found[0])] == [name for name, _ in documents]
    ended(outsider)
    assert not list((tmp_path / "stolen").glob("*.msgpack"))
    text = ended(forwarder)
    assert f"passed on {len(documents)} of {len(documents)} messages" in text
    assert "not let in" in text
    secrets = [path.read_text().split("secret-key")[1][4:44] for path in keys.rglob("*_secret")]
    for log in tmp_path.glob("*.log"):
        assert not any(secret in log.read_text() for secret in secrets)


def test_the_forwarder_refuses_to_serve_other_computers_without_keys(start):
    refused = start("forward", "forward", "--in", "0.0.0.0:5577")
    assert refused.wait(30) == 1
    text = refused.log.read_text()
    assert "operando keys DIR" in text
    assert "Traceback" not in text


def test_keys_without_a_network_are_refused(start, tmp_path):
    (tmp_path / "scan.msgpack").touch()
    refused = start("replay", "replay", tmp_path / "scan.msgpack", "--keys", tmp_path)
    assert refused.wait(30) == 1
    assert "belongs to --zmq" in refused.log.read_text()
