"""One message is what bluesky's own Publisher sends, and its errors tell no secrets."""

from __future__ import annotations

import pickle
from functools import partial

import event_model
import msgpack
import msgpack_numpy
import numpy as np
import pytest
import zmq
from bluesky.callbacks.zmq import Publisher

from operando.streamer.errors import ConfigError
from operando.streamer.io.wire.codec import BadMessageError
from operando.streamer.io.wire.message import DOCUMENT_NAMES, pack, unpack

EVENT = {
    "uid": "e-1",
    "descriptor": "d-1",
    "seq_num": 1,
    "time": 1.5,
    "data": {"img": np.arange(12, dtype=np.uint16).reshape(3, 4), "XEng": 8.333},
    "timestamps": {"img": 1.5, "XEng": 1.5},
    "filled": {},
}


def same(a: dict, b: dict) -> bool:
    np.testing.assert_equal(a, b)
    return True


@pytest.fixture
def listener():
    """Return a SUB socket that is bound, as the in side of the proxy is, and its address."""
    with zmq.Context() as context, context.socket(zmq.SUB) as sub:
        sub.linger = 0
        sub.rcvtimeo = 5000
        sub.subscribe(b"")
        port = sub.bind_to_random_port("tcp://127.0.0.1")
        yield sub, f"127.0.0.1:{port}"


def from_stock_publisher(listener, **settings) -> bytes:
    """Return the first message of a stock publisher that gets through."""
    sub, address = listener
    publisher = Publisher(address, **settings)
    try:
        for _ in range(200):
            publisher("event", EVENT)
            if sub.poll(25):
                return sub.recv()
    finally:
        publisher.close()
    raise AssertionError("nothing arrived")


def test_names_are_those_of_event_model():
    assert {name.name for name in event_model.DocumentNames} == DOCUMENT_NAMES


@pytest.mark.parametrize("prefix", [b"", b"fxi"])
def test_round_trip(prefix):
    message = pack("event", EVENT, prefix)
    for view in (message, memoryview(message), bytearray(message)):
        decoded = unpack(view, prefix)
        assert decoded is not None
        assert decoded[0] == "event"
        assert same(decoded[1], EVENT)


def test_without_a_prefix_a_message_begins_with_a_space():
    assert pack("stop", {"a": 1}).startswith(b" stop ")


@pytest.mark.parametrize("prefix", [b"", b"fxi"])
def test_reads_the_stock_publisher(listener, prefix):
    serializer = partial(msgpack.packb, default=msgpack_numpy.encode)
    message = from_stock_publisher(listener, prefix=prefix, serializer=serializer)
    decoded = unpack(message, prefix)
    assert decoded is not None
    assert same(decoded[1], EVENT)
    assert message == pack("event", EVENT, prefix), "bytes are those of the stock publisher"


def test_the_stock_default_pickle_is_refused(listener):
    message = from_stock_publisher(listener)
    assert pickle.loads(message.split(b" ", 2)[2])["uid"] == "e-1"
    with pytest.raises(BadMessageError):
        unpack(message)


def test_other_prefixes_are_passed_over():
    message = pack("event", EVENT, b"other")
    assert unpack(message, b"ours") is None
    assert unpack(message) is not None, "no prefix listens to all"
    assert unpack(b"other garbage", b"ours") is None


def test_errors_do_not_quote_the_message():
    with pytest.raises(BadMessageError) as caught:
        unpack(b" hunter2 " + msgpack.packb({"password": "hunter2"}))
    assert "hunter2" not in str(caught.value)


def test_unknown_names_and_bad_prefixes_are_not_sent():
    with pytest.raises(BadMessageError):
        pack("evnt", {})
    for prefix in (b"a b", "text", b"x" * 256):
        with pytest.raises(ConfigError, match="prefix"):
            pack("event", {}, prefix)  # type: ignore[arg-type]
