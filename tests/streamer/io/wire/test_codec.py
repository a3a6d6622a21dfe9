"""The codec reads what msgpack_numpy writes, and round-trips; tests/hostile has what it refuses."""

from __future__ import annotations

import msgpack
import msgpack_numpy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from operando.streamer.io.wire.codec import BadMessageError, Limits, dumps, loads, nbytes

ARRAYS = [
    np.arange(12, dtype=">u2").reshape(3, 4),
    np.arange(12, dtype=np.float32).reshape(3, 4).T,
    np.array(3.5),
    np.zeros((0, 7)),
    np.array([True, False]),
    np.array([1 + 2j]),
    np.array(["ab", "c"]),
    np.array([b"ab", b"c"]),
    np.array([1.5], dtype=np.float16),
    np.arange(24, dtype=np.int64)[::2],
]
SCALARS = [np.float32(1.5), np.float64(2.5), np.int16(-3), np.uint64(2**64 - 1), np.bool_(True)]


def stock(value: object) -> bytes:
    return msgpack.packb(value, default=msgpack_numpy.encode)


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype}{a.shape}")
@pytest.mark.parametrize("encode", [stock, dumps], ids=["msgpack_numpy", "ours"])
def test_arrays_survive(array, encode):
    back = loads(encode({"a": array}))["a"]
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype}{a.shape}")
def test_msgpack_numpy_reads_ours(array):
    back = msgpack.unpackb(dumps(array), object_hook=msgpack_numpy.decode)
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("value", [*SCALARS, 1 - 2j, np.complex64(3j)], ids=repr)
@pytest.mark.parametrize("encode", [stock, dumps], ids=["msgpack_numpy", "ours"])
def test_scalars_survive(value, encode):
    assert loads(encode({"v": value}))["v"] == value


def test_arrays_are_views_that_cannot_be_written():
    back = loads(dumps({"a": np.arange(4)}))["a"]
    assert not back.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        back[0] = 1


def test_object_array_is_sent_as_lists():
    assert loads(dumps(np.array([1, "x", None], dtype=object))) == [1, "x", None]


def test_limits_hold():
    payload = dumps({"a": np.zeros(1000)})
    assert loads(payload)["a"].shape == (1000,)
    with pytest.raises(BadMessageError, match="more than 100 bytes"):
        loads(payload, Limits(max_message_bytes=100))
    with pytest.raises(BadMessageError):
        loads(payload, Limits(max_array_bytes=7999))
    with pytest.raises(BadMessageError):
        loads(dumps([0] * 11), Limits(max_items=10))
    nested: list = []
    for _ in range(7):
        nested = [nested]
    assert loads(dumps(nested), Limits(max_depth=8)) == nested
    with pytest.raises(BadMessageError, match="deeper"):
        loads(dumps(nested), Limits(max_depth=7))


@pytest.mark.parametrize(
    "value",
    [
        object(),
        {1, 2},
        1 << 70,
        np.array(["2020"], dtype="M8[D]"),
        np.timedelta64(1, "s"),
        "\ud800",
    ],
    ids=lambda v: type(v).__name__,
)
def test_what_has_no_safe_encoding_is_refused(value):
    with pytest.raises(BadMessageError, match="cannot encode"):
        dumps({"v": value})


def test_errors_do_not_quote_the_content():
    secret = b"\xa6secret\xff\xfe"
    with pytest.raises(BadMessageError) as caught:
        loads(secret)
    assert "secret" not in str(caught.value)
    assert str(len(secret)) in str(caught.value)
    assert caught.value.__suppress_context__


def test_nbytes_counts_arrays():
    assert 8000 <= nbytes({"data": {"a": np.zeros(1000)}, "seq": [1, 2]}) < 9000


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.binary(max_size=20),
)
TREES = st.recursive(
    LEAVES,
    lambda c: st.lists(c, max_size=4) | st.dictionaries(st.text("abc", max_size=3), c, max_size=4),
    max_leaves=20,
)
NUMPY = hnp.arrays(
    dtype=st.one_of(
        hnp.boolean_dtypes(),
        hnp.integer_dtypes(),
        hnp.unsigned_integer_dtypes(),
        hnp.floating_dtypes(),
        hnp.complex_number_dtypes(),
        hnp.byte_string_dtypes(min_len=1),
    ),
    shape=hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
)


@given(TREES)
@settings(max_examples=100, deadline=None)
def test_plain_values_round_trip(tree):
    assert loads(dumps(tree)) == tree
    assert loads(stock(tree)) == tree


@given(NUMPY)
@settings(max_examples=100, deadline=None)
def test_any_array_round_trips(array):
    for payload in (dumps(array), stock(array)):
        back = loads(payload)
        assert back.dtype == array.dtype
        np.testing.assert_array_equal(back, array)
