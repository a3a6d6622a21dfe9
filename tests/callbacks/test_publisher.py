"""The publisher loses nothing it need not lose, and the RunEngine never notices it."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial

import msgpack
import msgpack_numpy
import numpy as np
import pytest
import zmq
import zmq.auth
from bluesky import RunEngine
from bluesky import plans as bp
from bluesky.callbacks.zmq import ClientCurve
from ophyd.sim import SynSignal
from zmq.auth.thread import ThreadAuthenticator

from operando.callbacks.publisher import FramePublisher
from operando.streamer.errors import ConfigError
from operando.streamer.io.sources import make_source
from operando.streamer.io.wire.message import unpack

pytestmark = pytest.mark.system

PROXY = """
from bluesky.callbacks.zmq import Proxy
proxy = Proxy("127.0.0.1", "127.0.0.1")
print(proxy.in_port, proxy.out_port, flush=True)
proxy.start()
"""


@pytest.fixture
def context() -> Iterator[zmq.Context]:
    context = zmq.Context()
    yield context
    context.destroy(linger=0)


@pytest.fixture
def listener(context) -> Iterator[tuple[zmq.Socket, str]]:
    """Return a SUB socket that is bound, as the in side of a proxy is, and its address."""
    with context.socket(zmq.SUB) as socket:
        socket.rcvtimeo = 5000
        socket.subscribe(b"")
        yield socket, f"127.0.0.1:{socket.bind_to_random_port('tcp://127.0.0.1')}"


@pytest.fixture
def run_engine() -> Iterator[RunEngine]:
    """Return a RunEngine whose event loop is closed afterwards, which bluesky itself never does."""
    engine = RunEngine({}, call_returns_result=False)
    yield engine
    engine.loop.call_soon_threadsafe(engine.loop.stop)
    engine._th.join()
    engine.loop.close()


def receive(socket: zmq.Socket, count: int, prefix: bytes = b"") -> list[tuple[str, dict]]:
    named = [unpack(socket.recv(), prefix) for _ in range(count)]
    assert None not in named
    return named  # type: ignore[return-value]


def event(i: int, size: int = 4) -> dict:
    return {"uid": f"e-{i}", "seq_num": i, "data": {"a": np.full(size, i)}}


def test_the_first_document_of_a_fresh_publisher_arrives(listener):
    socket, address = listener
    for i in range(20):
        publisher = FramePublisher(address)
        publisher("start", {"uid": f"run-{i}"})
        publisher("stop", {"uid": "s"})
        got = receive(socket, 2)
        assert publisher.close()
        assert got == [("start", {"uid": f"run-{i}"}), ("stop", {"uid": "s"})]
        assert publisher.counters().sent == 2


def test_what_is_published_before_the_proxy_starts_waits_for_it(context):
    with context.socket(zmq.SUB) as late:
        port = late.bind_to_random_port("tcp://127.0.0.1")
        late.unbind(late.last_endpoint)
        publisher = FramePublisher(f"127.0.0.1:{port}")
        for i in range(50):
            publisher("event", event(i))
        assert not publisher.wait_connected(0.2)
        assert publisher.counters().queued == 50
        late.rcvtimeo = 5000
        late.subscribe(b"")
        late.bind(f"tcp://127.0.0.1:{port}")
        got = receive(late, 50)
        assert publisher.connected.is_set()
        assert [doc["seq_num"] for _, doc in got] == list(range(50))
        assert publisher.close()


def test_buffers_may_be_reused_at_once(context, listener):
    socket, address = listener
    publisher = FramePublisher(address)
    buffer = np.zeros((100, 100), np.uint16)
    for i in range(20):
        buffer[:] = i
        publisher("event", {"seq_num": i, "data": {"img": buffer}})
    got = receive(socket, 20)
    assert publisher.close()
    assert [set(np.unique(doc["data"]["img"])) for _, doc in got] == [{i} for i in range(20)]


def test_with_nobody_there_the_engine_is_not_held_up_and_the_loss_is_counted(caplog):
    with caplog.at_level(logging.WARNING):
        publisher = FramePublisher("127.0.0.1:9", max_bytes=1_000_000)
        publisher("start", {"uid": "r"})
        begun = time.monotonic()
        for i in range(500):
            publisher("event", event(i, size=1000))
        publisher("stop", {"uid": "s"})
        assert time.monotonic() - begun < 2
        counters = publisher.counters()
        assert not publisher.close(timeout=0.1)
    assert counters.offered == 502
    assert counters.dropped > 300
    assert counters.queued + counters.dropped == 502
    assert counters.queued_bytes <= 1_000_000 + 250_000
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "dropped a document",
        f"closed with {counters.queued} documents not sent to tcp",
    ]


def test_a_slow_listener_loses_nothing_while_the_queue_holds(context):
    with context.socket(zmq.SUB) as socket:
        socket.rcvhwm = 1
        socket.rcvtimeo = 5000
        socket.subscribe(b"")
        address = f"127.0.0.1:{socket.bind_to_random_port('tcp://127.0.0.1')}"
        publisher = FramePublisher(address)
        publisher("event", event(0))
        receive(socket, 1)
        for i in range(400):
            publisher("event", event(i, size=30_000))
        time.sleep(0.3)
        assert publisher.counters().queued > 100, "0MQ refuses, the queue holds"
        got = receive(socket, 400)
        assert [doc["seq_num"] for _, doc in got] == list(range(400))
        assert publisher.close()


def test_bad_documents_are_counted_and_do_not_raise(listener, caplog):
    socket, address = listener
    publisher = FramePublisher(address)
    with caplog.at_level(logging.WARNING):
        publisher("start", {"uid": "r", "bad": object()})
        publisher("evnt", {})
        publisher("stop", None)  # type: ignore[arg-type]
        publisher("event", event(1))
    assert receive(socket, 1)[0][1]["seq_num"] == 1
    assert publisher.close()
    counters = publisher.counters()
    assert (counters.offered, counters.failed, counters.sent) == (4, 3, 1)
    assert len(caplog.records) == 1
    publisher("event", event(2))
    assert publisher.counters().dropped == 1, "after the close it is counted too"


def test_prefix_and_stock_serializer(listener):
    socket, address = listener
    serializer = partial(msgpack.packb, default=msgpack_numpy.encode)
    publisher = FramePublisher(address, b"fxi", serializer=serializer)
    publisher("event", event(1))
    message = socket.recv()
    assert message.startswith(b"fxi event ")
    decoded = unpack(message, b"fxi")
    assert decoded is not None
    np.testing.assert_equal(decoded[1], event(1))
    assert publisher.close()


def test_a_restarted_proxy_gets_the_rest(context, listener):
    socket, address = listener
    publisher = FramePublisher(address)
    publisher("event", event(0))
    assert len(receive(socket, 1)) == 1
    socket.close(linger=0)
    deadline = time.monotonic() + 10
    while publisher.connected.is_set():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    for i in range(1, 10):
        publisher("event", event(i))
    with context.socket(zmq.SUB) as again:
        again.rcvtimeo = 10_000
        again.subscribe(b"")
        while True:
            try:
                again.bind(f"tcp://{address}")
                break
            except zmq.ZMQError:
                time.sleep(0.02)
        got = receive(again, 9)
        assert [doc["seq_num"] for _, doc in got] == list(range(1, 10))
        assert publisher.close()


@pytest.mark.parametrize(
    "settings",
    [
        {"address": "nonsense"},
        {"address": "tcp://not a host:9"},
        {"address": "127.0.0.1:9", "curve": {"secret": "x"}},
        {"address": "127.0.0.1:9", "prefix": b"a b"},
        {"address": "127.0.0.1:9", "curve": {"secret_path": "x", "server_public_key": "y"}},
    ],
    ids=str,
)
def test_wrong_settings_are_told_at_construction(settings):
    with pytest.raises(ConfigError):
        FramePublisher(**settings)


def test_curve(context, tmp_path):
    server_public, server_secret = zmq.auth.create_certificates(tmp_path, "server")
    _, client_secret = zmq.auth.create_certificates(tmp_path, "client")
    authenticator = ThreadAuthenticator(context)
    authenticator.start()
    authenticator.configure_curve(domain="*", location=zmq.auth.CURVE_ALLOW_ANY)
    try:
        with context.socket(zmq.SUB) as socket:
            socket.curve_publickey, socket.curve_secretkey = zmq.auth.load_certificate(
                server_secret
            )
            socket.curve_server = True
            socket.rcvtimeo = 5000
            socket.subscribe(b"")
            address = f"127.0.0.1:{socket.bind_to_random_port('tcp://127.0.0.1')}"
            publisher = FramePublisher(address, curve=ClientCurve(client_secret, server_public))
            publisher("event", event(3))
            assert receive(socket, 1)[0][1]["seq_num"] == 3
            assert publisher.close()
    finally:
        authenticator.stop()


def test_run_engine_to_source_through_the_stock_proxy_loses_nothing(run_engine):
    camera = SynSignal(name="img", func=lambda: np.ones((460, 460), np.uint16))
    names: list[str] = []
    with subprocess.Popen([sys.executable, "-c", PROXY], stdout=subprocess.PIPE, text=True) as proc:
        assert proc.stdout is not None
        try:
            proxy_in, proxy_out = proc.stdout.readline().split()
            with make_source("zmq", address=proxy_out) as source:
                assert source.wait_ready(10)
                publisher = FramePublisher(proxy_in)
                run_engine.subscribe(publisher)
                run_engine.subscribe(lambda name, doc: names.append(name))
                run_engine(bp.count([camera], num=100))
                assert publisher.close()
                got = []
                while len(got) < 103:
                    batch = source.drain(timeout=5)
                    assert batch, f"only {len(got)} of 103 arrived"
                    got += batch
        finally:
            proc.kill()
    assert [item.name for item in got] == names
    assert all(item.doc["data"]["img"].shape == (460, 460) for item in got if item.name == "event")
    counters = publisher.counters()
    assert (counters.sent, counters.dropped, counters.failed) == (103, 0, 0)


ENDING = """
import sys
from operando.callbacks.publisher import FramePublisher
publisher = FramePublisher(sys.argv[1])
for i in range(20):
    publisher("event", {"seq_num": i})
assert "torch" not in sys.modules and "tiled" not in sys.modules
"""


def test_a_session_that_just_ends_sends_the_rest_and_never_imports_torch(listener):
    socket, address = listener
    with subprocess.Popen([sys.executable, "-c", ENDING, address]) as process:
        assert socket.poll(30_000)
        assert [doc["seq_num"] for _, doc in receive(socket, 20)] == list(range(20))
    assert process.returncode == 0
