"""The forwarder, with real sockets: what comes in goes out, to those who may listen."""

from __future__ import annotations

import threading
import time
from functools import partial

import msgpack
import msgpack_numpy
import pytest
import zmq
import zmq.auth
from bluesky.callbacks.zmq import ClientCurve, Publisher

from operando.callbacks.publisher import FramePublisher
from operando.streamer.errors import ConfigError
from operando.streamer.io.sources import make_source
from operando.streamer.io.wire.curve import client_curve, make_keys
from operando.streamer.io.wire.message import pack
from operando.streamer.io.wire.sockets import apply_curve, is_loopback
from operando.streamer.service.forwarder import Forwarder, ForwarderSettings

pytestmark = pytest.mark.system

RANDOM = {"in_address": "tcp://127.0.0.1:*", "out_address": "tcp://127.0.0.1:*"}


@pytest.fixture
def forward():
    """Run a forwarder in a thread."""
    ends = []

    def start(**settings):
        forwarder = Forwarder(ForwarderSettings(**{**RANDOM, **settings}))
        stop = threading.Event()
        thread = threading.Thread(target=forwarder.run, args=(stop,))
        thread.start()
        ends.append((forwarder, stop, thread))
        return forwarder

    yield start
    for forwarder, stop, thread in ends:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()
        forwarder.close()


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    make_keys(folder)
    return folder


@pytest.fixture
def socket():
    """Make sockets that are closed after the test."""
    context = zmq.Context()
    made = []

    def make(kind):
        made.append(context.socket(kind))
        made[-1].linger = 0
        return made[-1]

    yield make
    for one in made:
        one.close()
    context.term()


def until(condition, timeout=10.0):
    deadline = time.monotonic() + timeout
    while not (answer := condition()):
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)
    return answer


def iter_now(sub):
    """What can be received without waiting for more than a moment."""
    got = []
    while sub.poll(300):
        got.append(sub.recv())
    return got


def source_of(forwarder, keys=None, **settings):
    if keys is not None:
        settings["curve"] = client_curve(keys, "subscriber").model_dump()
    return make_source("zmq", address=forwarder.out_address, **settings)


def stock_publisher(forwarder, curve=None):
    serializer = partial(msgpack.packb, default=msgpack_numpy.encode)
    address = forwarder.in_address.removeprefix("tcp://")
    return Publisher(address, serializer=serializer, curve_config=curve)


def collect(source, count, timeout=10.0):
    got = []
    deadline = time.monotonic() + timeout
    while len(got) < count and time.monotonic() < deadline:
        got += source.drain(timeout=0.1)
    return [item.doc.get("n") for item in got if item.name == "event"]


def test_stock_publisher_ours_and_every_listener_get_everything_in_order(forward):
    forwarder = forward()
    ours = FramePublisher(forwarder.in_address)
    stock = stock_publisher(forwarder)
    with source_of(forwarder) as one, source_of(forwarder) as two:
        assert one.wait_ready(10)
        assert two.wait_ready(10)
        assert ours.wait_connected(10)
        for n in range(200):
            ours("event", {"n": n})
        assert collect(one, 200) == list(range(200))
        assert collect(two, 200) == list(range(200))
        until(lambda: stock("event", {"n": "stock"}) or one.drain(timeout=0.05))
    assert ours.close()
    stock.close()
    counts = forwarder.counters()
    assert counts.received == counts.forwarded + counts.odd
    assert counts.forwarded >= 201
    assert counts.refused == 0


def test_with_keys_stock_and_our_publishers_are_read_end_to_end(forward, keys):
    forwarder = forward(keys=keys)
    curve = client_curve(keys, "publisher")
    ours = FramePublisher(forwarder.in_address, curve=curve)
    stock = stock_publisher(forwarder, ClientCurve(curve.secret_path, curve.server_public_key))
    with source_of(forwarder, keys) as source:
        assert source.wait_ready(10)
        assert ours.wait_connected(10)
        for n in range(50):
            ours("event", {"n": n})
        assert collect(source, 50) == list(range(50))
        until(lambda: stock("event", {"n": -1}) or source.drain(timeout=0.05))
    assert ours.close()
    stock.close()


def outsiders(tmp_path, keys):
    """Clients who know the forwarder's public key, but are not those who may come in."""
    strange = tmp_path / "strange"
    make_keys(strange)
    (strange / "publisher" / "forwarder.key").write_bytes(
        (keys / "publisher" / "forwarder.key").read_bytes()
    )
    return {
        "in the clear": None,
        "with keys of its own": client_curve(strange, "publisher"),
        "who may only listen": client_curve(keys, "subscriber"),
    }


def test_who_is_not_let_in_can_send_nothing(forward, keys, socket, tmp_path):
    forwarder = forward(keys=keys)
    with source_of(forwarder, keys) as source:
        assert source.wait_ready(10)
        for curve in outsiders(tmp_path, keys).values():
            pub = socket(zmq.PUB)
            if curve is not None:
                apply_curve(pub, curve)
            pub.connect(forwarder.in_address)
            refused = forwarder.counters().refused
            for _ in range(20):
                pub.send(pack("event", {"n": "forged"}))
                time.sleep(0.01)
            until(lambda before=refused: forwarder.counters().refused > before)
            pub.close()
        good = FramePublisher(forwarder.in_address, curve=client_curve(keys, "publisher"))
        assert good.wait_connected(10)
        good("event", {"n": 1})
        assert collect(source, 1) == [1]
        assert good.close()
    assert forwarder.counters().received == 1


def test_who_is_not_let_in_gets_nothing(forward, keys, socket, tmp_path):
    forwarder = forward(keys=keys)
    curves = outsiders(tmp_path, keys)
    curves["who may only publish"] = client_curve(keys, "publisher")
    del curves["who may only listen"]
    spies = []
    for curve in curves.values():
        spy = socket(zmq.SUB)
        if curve is not None:
            apply_curve(spy, curve)
        spy.subscribe(b"")
        spy.connect(forwarder.out_address)
        spies.append(spy)
    until(lambda: forwarder.counters().refused >= len(spies))
    publisher = FramePublisher(forwarder.in_address, curve=client_curve(keys, "publisher"))
    with source_of(forwarder, keys) as source:
        assert source.wait_ready(10)
        assert publisher.wait_connected(10)
        for n in range(10):
            publisher("event", {"n": n})
        assert collect(source, 10) == list(range(10))
    assert publisher.close()
    time.sleep(0.1)
    assert [spy.poll(0) for spy in spies] == [0, 0, 0]


def test_a_listener_with_the_key_of_another_forwarder_believes_nothing(forward, keys, tmp_path):
    make_keys(tmp_path)
    with source_of(forward(keys=keys), tmp_path) as source:
        assert not source.wait_ready(0.5)
        assert "do the CURVE keys match" in until(
            lambda: source.status * ("refused" in source.status)
        )


def test_a_listener_that_sends_is_ignored(forward, socket):
    forwarder = forward()
    talker = socket(zmq.XSUB)
    talker.connect(forwarder.out_address)
    with source_of(forwarder) as source:
        assert source.wait_ready(10)
        talker.send(b"\x01")
        talker.send(pack("event", {"n": "forged"}))
        until(lambda: forwarder.counters().ignored)
        publisher = FramePublisher(forwarder.in_address)
        assert publisher.wait_connected(10)
        publisher("event", {"n": 1})
        assert collect(source, 1) == [1]
        assert publisher.close()


def test_a_slow_listener_costs_itself_messages_and_nobody_else(forward, socket):
    forwarder = forward(high_water=10)
    sleeper = socket(zmq.SUB)
    sleeper.rcvhwm = 1
    sleeper.subscribe(b"")
    sleeper.connect(forwarder.out_address)
    publisher = FramePublisher(forwarder.in_address)
    with source_of(forwarder) as source:
        assert source.wait_ready(10)
        assert publisher.wait_connected(10)
        got = []
        for n in range(100):  # 1 MB each, so that the kernel's buffers are soon full
            publisher("event", {"n": n, "data": bytes(1 << 20)})
            got += collect(source, 1)
        assert got == list(range(100))
    assert publisher.close()
    counts = forwarder.counters()
    assert counts.fell_behind > 0
    assert counts.received == counts.forwarded == 100
    assert len(iter_now(sleeper)) < 80


def test_messages_of_several_parts_are_left_out_and_counted(forward, socket):
    forwarder = forward()
    pub = socket(zmq.PUB)
    pub.connect(forwarder.in_address)
    with source_of(forwarder) as source:
        assert source.wait_ready(10)
        until(lambda: pub.send_multipart([b"a", b"b"]) or forwarder.counters().odd)
        pub.send(pack("event", {"n": 1}))
        assert collect(source, 1) == [1]
        assert source.counters().bad == 0


@pytest.mark.parametrize("side", ["in_address", "out_address"])
@pytest.mark.parametrize("host", ["0.0.0.0", "*", "192.0.2.1", "[::]", "beamline.example"])
def test_other_computers_are_served_with_keys_only(side, host):
    with pytest.raises(ConfigError, match=r"operando keys.*--insecure"):
        Forwarder(ForwarderSettings(**{**RANDOM, side: f"tcp://{host}:0"}))


def test_insecure_or_with_keys_they_are(forward, keys):
    assert forward(in_address="tcp://0.0.0.0:*", insecure=True).in_address.startswith("tcp://0.0")
    assert forward(out_address="tcp://0.0.0.0:*", keys=keys).out_address.startswith("tcp://0.0")


@pytest.mark.parametrize(
    ("address", "answer"),
    [("localhost:1", True), ("127.1.2.3:1", True), ("tcp://[::1]:1", True), ("ipc:///tmp/x", True),
     ("*:1", False), ("0.0.0.0:1", False), ("10.0.0.1:1", False), ("localhost.evil.org:1", False)],
)  # fmt: skip
def test_loopback(address, answer):
    assert is_loopback(address) is answer


def test_a_port_in_use_is_told_and_nothing_is_left_open(forward):
    taken = forward()
    before = threading.active_count()
    with pytest.raises(ConfigError, match="cannot listen at"):
        Forwarder(ForwarderSettings(**{**RANDOM, "out_address": taken.out_address}))
    assert threading.active_count() == before
