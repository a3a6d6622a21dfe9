"""The decoder refuses every hostile message for its reason, and runs nothing."""

from __future__ import annotations

import contextlib
import pickle
import random
import tracemalloc
from pathlib import Path

import msgpack
import msgpack_numpy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operando.streamer.errors import WireError
from operando.streamer.io.wire.codec import BadMessageError, loads
from operando.streamer.io.wire.message import unpack

from .messages import EVENT, GOOD, MESSAGES, PAYLOADS, Bomb

_NOWHERE = Path("/tmp/operando-canary-that-nobody-makes")


def understood() -> None:
    """The next good message is read as if nothing had been before it."""
    name, doc = unpack(GOOD)
    assert name == "event"
    np.testing.assert_equal(doc, EVENT)


@pytest.mark.parametrize("case", MESSAGES, ids=lambda case: case.name)
def test_hostile_messages_are_refused_for_their_reason_and_harm_nothing(case, canary):
    message = case.make(canary)
    for view in (message, memoryview(message)):
        with pytest.raises(BadMessageError) as caught:
            unpack(view)
        assert caught.value.kind == case.kind
        assert 0 <= caught.value.length <= len(message)
        assert len(str(caught.value)) < 200
        assert "\n" not in str(caught.value)
    understood()


def test_the_payloads_are_sharp(canary, tmp_path):
    target = tmp_path / "sharp"
    for case in PAYLOADS:
        payload = case.make(target).split(b" ", 2)[2]
        with contextlib.suppress(Exception):
            if case.kind == "not_msgpack":
                pickle.loads(payload)
            else:
                msgpack.unpackb(payload, object_hook=msgpack_numpy.decode)
        assert target.exists(), f"{case.name} would have run in whoever trusts it"
        target.rmdir()
    assert pickle.loads(pickle.dumps(Bomb(target))) is None


@pytest.mark.parametrize("filling", [b"\x80", b"\x90", b"\xc0"], ids=["maps", "lists", "nil"])
def test_a_message_takes_little_more_memory_than_its_bytes(filling):
    million = b"\xdd" + (1_000_000).to_bytes(4, "big") + filling * 1_000_000
    payload = b"\x81\xa1x\x94" + million * 4
    tracemalloc.start()
    with contextlib.suppress(WireError):
        loads(payload)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 150e6  # 4 million empty maps would take 290 MB


@settings(max_examples=400, deadline=None, derandomize=True, database=None)
@given(st.binary(max_size=300), st.sampled_from([b"", b" event ", b"p start ", b" "]))
def test_fuzz_of_bytes(garbage, head):
    decoded = ("event", {})
    with contextlib.suppress(BadMessageError):
        decoded = unpack(head + garbage)
    assert decoded is not None
    assert type(decoded[1]) is dict


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.integers(0, 2**32 - 1))
def test_fuzz_of_mutated_messages(seed):
    """Good messages and those of the corpus with bytes changed, cut out, doubled or swapped."""
    rng = random.Random(seed)
    small = [m for m in (case.make(_NOWHERE) for case in MESSAGES) if len(m) < 5000]
    message = bytearray(rng.choice([GOOD, GOOD, *small]))
    other = rng.choice(small)
    for _ in range(rng.randint(1, 6)):
        at, n = rng.randint(0, len(message)), rng.randint(0, 12)
        kind = rng.randrange(5)
        if kind == 0:
            message[at : at + n] = rng.randbytes(n)
        elif kind == 1:
            del message[at : at + n]
        elif kind == 2:
            message[at:at] = message[at : at + n] * rng.randint(1, 5)
        elif kind == 3:
            cut = rng.randint(0, len(other))
            message[at:] = other[cut:]
        elif at < len(message):
            message[at] ^= 1 << rng.randrange(8)
    with contextlib.suppress(BadMessageError):
        assert unpack(bytes(message), b"") is not None
    assert not _NOWHERE.exists()
    understood()
