"""The 0MQ source with real sockets, the stock proxy and the stock publisher."""

from __future__ import annotations

import logging
import pickle
import threading
import time
from functools import partial

import msgpack
import msgpack_numpy
import numpy as np
import pytest
import zmq
import zmq.auth
from bluesky import plans as bp
from bluesky.callbacks.zmq import ClientCurve, Publisher
from ophyd.sim import SynSignal
from zmq.auth.thread import ThreadAuthenticator

from operando.streamer.errors import ConfigError
from operando.streamer.io.sources import make_source
from operando.streamer.io.sources.zmq import ZmqSource
from operando.streamer.io.wire.message import Received, pack

pytestmark = pytest.mark.system

SERIALIZER = partial(msgpack.packb, default=msgpack_numpy.encode)


@pytest.fixture
def context():
    context = zmq.Context()
    yield context
    context.destroy(linger=0)


@pytest.fixture
def publisher(context):
    """Return a PUB socket that is bound, and its address: a proxy's out side without a proxy."""
    with context.socket(zmq.PUB) as socket:
        socket.sndhwm = 0
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        yield socket, f"127.0.0.1:{port}"


def open_source(address: str, **settings) -> ZmqSource:
    source = make_source("zmq", address=address, **settings)
    assert isinstance(source, ZmqSource)
    return source


def collect(source, count: int, timeout: float = 10.0) -> list[Received]:
    """Drain until `count` documents came."""
    got: list[Received] = []
    deadline = time.monotonic() + timeout
    while len(got) < count and time.monotonic() < deadline:
        got += source.drain(timeout=0.2)
    return got


def event(i: int, size: int = 4) -> bytes:
    return pack("event", {"uid": f"e-{i}", "seq_num": i, "data": {"a": np.full(size, i)}})


def until(condition, timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)


def test_what_is_published_after_ready_arrives_at_once_and_in_order(publisher):
    socket, address = publisher
    for _ in range(10):
        with open_source(address) as source:
            assert source.wait_ready(5)
            for i in range(20):
                socket.send(event(i))
            got = collect(source, 20)
        assert [item.doc["seq_num"] for item in got] == list(range(20))


def test_not_ready_without_anybody_there():
    with open_source("127.0.0.1:9") as source:
        assert not source.wait_ready(0.3)
        assert "connecting" in source.status
        assert source.drain() == []
    assert source.exhausted
    assert source.status == "closed"


def test_a_burst_is_received_whole(publisher):
    socket, address = publisher
    with open_source(f"tcp://{address}") as source:
        assert source.wait_ready(5)
        for i in range(5000):
            socket.send(event(i))
        until(lambda: source.counters().received == 5000)
        got = source.drain(max_items=10_000)
    assert [item.doc["seq_num"] for item in got] == list(range(5000))
    assert source.counters().bytes == sum(item.nbytes for item in got)


def test_bad_messages_are_counted_and_told_once_without_content(publisher, caplog, tmp_path):
    socket, address = publisher
    bad = [
        b"",
        b"secret",
        b" foo " + SERIALIZER({"secret": 1}),
        b" foo " + SERIALIZER({"secret": 2}),
        b" event " + pickle.dumps({"secret": 1}),
        b" event " + SERIALIZER({"data": np.array([{"secret": 1}], dtype=object)}),
        b"\xff" * 100_000,
    ]
    with caplog.at_level(logging.WARNING), open_source(address) as source:
        assert source.wait_ready(5)
        for message in bad:
            socket.send(message)
        socket.send(event(1))
        got = collect(source, 1)
    assert [item.doc["seq_num"] for item in got] == [1]
    counters = source.counters()
    assert (counters.received, counters.bad, counters.decoded) == (len(bad) + 1, len(bad), 1)
    assert "secret" not in caplog.text
    assert len([r for r in caplog.records if "unknown" in r.message or "name" in r.message]) <= 2
    assert len(caplog.records) == 4, "no_header, unknown_name, not_msgpack, forbidden_dtype"


def test_prefix_selects(publisher):
    socket, address = publisher
    with open_source(address, prefix=b"fxi") as source:
        assert source.wait_ready(5)
        socket.send(pack("start", {"uid": "other"}, b"other"))
        socket.send(pack("start", {"uid": "ours"}, b"fxi"))
        got = collect(source, 1)
    assert [item.doc["uid"] for item in got] == ["ours"]
    assert source.counters().ignored == 1


def test_a_slow_consumer_loses_counted_events_but_no_start_or_stop(publisher, caplog):
    socket, address = publisher
    with caplog.at_level(logging.WARNING), open_source(address, max_bytes=100_000) as source:
        assert source.wait_ready(5)
        socket.send(pack("start", {"uid": "r"}))
        for i in range(100):
            socket.send(event(i, size=1000))
        socket.send(pack("stop", {"uid": "s", "run_start": "r"}))
        until(lambda: source.counters().received == 102)
        counters = source.counters()
        got = source.drain(max_items=1000)
    assert counters.dropped > 80
    assert counters.queued + counters.dropped == 102
    assert counters.queued_bytes <= 100_000
    assert (got[0].name, got[-1].name) == ("start", "stop")
    assert [item.doc["seq_num"] for item in got[1:-1]] == list(range(len(got) - 2))
    assert len(caplog.records) == 1


def test_block_keeps_everything_that_the_sockets_can_hold(publisher):
    socket, address = publisher
    with open_source(address, max_bytes=50_000, when_full="block") as source:
        assert source.wait_ready(5)
        for i in range(100):
            socket.send(event(i, size=1000))
        time.sleep(0.2)
        assert source.counters().queued_bytes <= 50_000
        got = collect(source, 100)
    assert [item.doc["seq_num"] for item in got] == list(range(100))
    assert source.counters().dropped == 0


def test_a_restarted_publisher_is_found_again(context, publisher):
    socket, address = publisher
    again = context.socket(zmq.PUB)
    with again, open_source(address, heartbeat=0.2) as source:
        assert source.wait_ready(5)
        socket.close(linger=0)
        until(lambda: not source.ready.is_set())
        assert "reconnecting" in source.status
        until(lambda: _bind(again, address))
        assert source.wait_ready(10)
        again.send(event(7))
        assert [item.doc["seq_num"] for item in collect(source, 1)] == [7]
    assert source.counters().disconnects == 1


def _bind(socket: zmq.Socket, address: str) -> bool:
    try:
        socket.bind(f"tcp://{address}")
    except zmq.ZMQError:
        return False
    return True


def test_close_is_prompt_and_leaves_no_thread(publisher):
    _, address = publisher
    before = set(threading.enumerate())
    source = open_source(address, max_bytes=1, when_full="block")
    source.open()
    assert source.wait_ready(5)
    begun = time.monotonic()
    source.close()
    source.close()
    assert time.monotonic() - begun < 2
    assert set(threading.enumerate()) == before
    assert not source.ready.is_set()


def test_an_impossible_address_is_told():
    with open_source("tcp://not a host:1") as source:
        assert not source.wait_ready(None), "returns, as it can never be ready"
        with pytest.raises(ConfigError, match="cannot listen"):
            list(source.documents())


def test_curve_lets_the_right_key_in_and_no_other(context, tmp_path, caplog):
    server_public, server_secret = zmq.auth.create_certificates(tmp_path, "server")
    _, client_secret = zmq.auth.create_certificates(tmp_path, "client")
    wrong_public, _ = zmq.auth.create_certificates(tmp_path, "wrong")
    authenticator = ThreadAuthenticator(context)
    authenticator.start()
    authenticator.configure_curve(domain="*", location=zmq.auth.CURVE_ALLOW_ANY)
    socket = context.socket(zmq.PUB)
    socket.curve_publickey, socket.curve_secretkey = zmq.auth.load_certificate(server_secret)
    socket.curve_server = True
    address = f"127.0.0.1:{socket.bind_to_random_port('tcp://127.0.0.1')}"
    try:
        with open_source(address, curve=ClientCurve(client_secret, server_public)) as source:
            assert source.wait_ready(5)
            socket.send(event(1))
            assert len(collect(source, 1)) == 1
        keys = {"secret_path": client_secret, "server_public_key": wrong_public}
        with open_source(address, curve=keys) as source:
            assert not source.wait_ready(1)
        with open_source(address) as source:
            assert not source.wait_ready(0.5)
    finally:
        socket.close(linger=0)
        authenticator.stop()


def test_missing_curve_keys_are_told(tmp_path):
    keys = {"secret_path": tmp_path / "none", "server_public_key": tmp_path / "none"}
    source = open_source("127.0.0.1:9", curve=keys)
    with source, pytest.raises(ConfigError, match="CURVE keys cannot be read"):
        list(source.documents())


def test_run_engine_stock_publisher_stock_proxy_lose_nothing(stock_proxy, run_engine):
    proxy_in, proxy_out = stock_proxy
    image = np.arange(64 * 48, dtype=np.uint16).reshape(64, 48)
    camera = SynSignal(name="img", func=lambda: image.copy())
    sent: list[tuple[str, dict]] = []
    publisher = Publisher(proxy_in.removeprefix("tcp://"), serializer=SERIALIZER)
    try:
        with open_source(proxy_out) as source:
            assert source.wait_ready(10)
            _until_through(publisher, source)
            run_engine.subscribe(publisher)
            run_engine.subscribe(lambda name, doc: sent.append((name, doc)))
            run_engine(bp.count([camera], num=100))
            got = collect(source, len(sent))
    finally:
        publisher.close()
    assert [item.name for item in got] == [name for name, _ in sent]
    assert len(got) == 103
    for item, (_, doc) in zip(got, sent, strict=True):
        np.testing.assert_equal(item.doc, _as_lists(doc))
    assert source.counters().bad == 0


def _as_lists(value):
    """Msgpack knows no tuples."""
    if isinstance(value, dict):
        return {key: _as_lists(child) for key, child in value.items()}
    return [_as_lists(child) for child in value] if isinstance(value, list | tuple) else value


def _until_through(publisher: Publisher, source: ZmqSource) -> None:
    """The stock publisher cannot say when it is connected: send until something comes."""
    sent = 0
    while not source.counters().received:
        publisher("stop", {"uid": "probe"})
        sent += 1
        time.sleep(0.02)
    time.sleep(0.2)
    probes = source.drain()
    assert len(probes) <= sent
