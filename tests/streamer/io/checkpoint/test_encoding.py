"""What a checkpoint can hold comes back as it was; what it cannot is refused, on both sides."""

from __future__ import annotations

import enum
from collections import Counter, deque
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from operando.streamer.core.frames import FrameKey, Role
from operando.streamer.core.results import Ledger
from operando.streamer.errors import CheckpointError
from operando.streamer.io.checkpoint import Blobs, Checkpoint, CheckpointFiles, decode, encode
from operando.streamer.io.checkpoint import state as tags
from operando.streamer.io.checkpoint.files import pack, pack_tree, unpack_tree
from operando.streamer.io.checkpoint.schema import SCHEMA


def through(value, blobs=None):
    return decode(unpack_tree(pack_tree(encode(value, blobs))), "cpu", blobs)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -7,
        0.1,
        "text",
        b"bytes",
        1 + 2j,
        [1, [2, ()]],
        (1, "two", None),
        {1: "a", "b": {2.5: []}},
        {3, 1, 2},
        frozenset({"x"}),
        deque([1, 2]),
        Counter({"a": 3}),
        {("run", 4): "frame"},
        Role.FLAT,
        FrameKey(run="r", stream="primary", data_key="image", seq_num=3),
        Ledger(received=3, skipped={"blank": 1}),
        ["l", ["d", []], "r"],
    ],
)
def test_plain_values_and_our_own_classes(value):
    back = through(value)
    assert back == value
    assert type(back) is type(value)


def test_not_a_number_and_infinity_too():
    back = through((float("nan"), float("-inf"), np.float32("nan")))
    assert np.isnan(back[0])
    assert back[1] == float("-inf")
    assert isinstance(back[2], np.float32)


ARRAYS = {
    "plain": np.arange(12, dtype=np.float32).reshape(3, 4),
    "empty": np.zeros((0, 5), np.int32),
    "scalar": np.array(3.5),
    "bool": np.eye(3, dtype=bool),
    "complex": np.array([1 + 1j]),
    "text": np.array(["ab", "c"]),
    "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "view": np.arange(100.0).reshape(10, 10)[2:5, 1:8:2],
    "reversed": np.arange(10.0)[::-2],
    "broadcast": np.broadcast_to(np.float64(2.0), (3, 2)),
}


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("stored", [False, True])
def test_arrays_keep_values_and_layout(name, stored, tmp_path, monkeypatch):
    monkeypatch.setattr("operando.streamer.io.checkpoint.state.SMALLEST", 0)
    array = ARRAYS[name]
    back = through(array, Blobs(tmp_path) if stored else None)
    np.testing.assert_array_equal(back, array)
    assert back.dtype == array.dtype
    if array.size:
        assert back.strides == array.strides
    if array.dtype.kind == "f":
        assert back.sum() == array.sum()


def test_tensors_come_back():
    tensor = torch.arange(6.0).reshape(2, 3).t()
    back = through(tensor)
    assert torch.equal(back, tensor)
    assert back.stride() == tensor.stride()


def test_one_object_stays_one_object():
    array, key = np.ones(3), FrameKey(run="r", stream="s", data_key="k", seq_num=1)
    back = through({"a": [array, key], "b": (array, key)})
    assert back["a"][0] is back["b"][0]
    assert back["a"][1] is back["b"][1]


@dataclass(frozen=True)
class Foreign:
    x: int = 1


class Colour(enum.Enum):
    RED = 1


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (Foreign(), r"state is a .*Foreign"),
        ({"a": [Colour.RED]}, r"state\['a'\]\[0\]"),
        ((lambda: 0,), r"state\[0\] is a function"),
        (np.array([object()]), "object"),
        ({"file": open}, "builtin"),
    ],
)
def test_what_cannot_be_held_is_told_with_its_place(value, where):
    with pytest.raises(CheckpointError, match=where):
        encode(value)


@pytest.mark.parametrize(
    "tree",
    [
        [tags.DATACLASS, "Popen", []],
        [tags.DATACLASS, "subprocess:Popen", []],
        [tags.DATACLASS, "ConfigError", []],
        [tags.ENUM, "Ledger", "x"],
        [tags.ENUM, "Role", "NONE"],
        [tags.MODEL, "FrameKey", "{}"],
        [tags.MODEL, "AssembleSettings", '{"nothing": 1}'],
        [tags.DATACLASS, "Role", []],
        [tags.DATACLASS, "FrameKey", ["run", "r"]],
        [tags.DATACLASS, "Gone", []],
        [tags.ARRAY, "|O", [1], None, b"12345678"],
        [tags.ARRAY, "<f8", [7], None, b"12345678"],
        [tags.BLOB, "<f8", [1], None, "../../etc/passwd", 0],
        [tags.SEEN, 5],
        ["?", 1],
        [],
    ],
)
def test_what_is_no_checkpoint_of_ours_is_refused(tree, tmp_path):
    with pytest.raises(CheckpointError) as error:
        decode(tree, "cpu", Blobs(tmp_path))
    assert "\n" not in str(error.value)


def test_a_damaged_array_is_noticed(tmp_path):
    blobs = Blobs(tmp_path)
    blobs.begin()
    tree = encode(np.ones(100_000), blobs)
    (name,) = blobs.end()
    (tmp_path / "blobs" / name).write_bytes(b"\0" * 800_000)
    with pytest.raises(CheckpointError, match="damaged"):
        decode(tree, "cpu", blobs)


def checkpoint(position=7):
    return Checkpoint(position=position, open_from=3, made_for="x", state=encode({"a": (1, 2)}))


def test_files_keep_the_newest(tmp_path):
    files = CheckpointFiles(tmp_path)
    assert files.read() is None
    for position in (7, 8):
        files.write(pack(checkpoint(position)))
    found = files.read()
    assert (found.position, found.open_from, found.made_for) == (8, 3, "x")
    assert decode(found.state) == {"a": (1, 2)}
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[:10],
        lambda data: b"",
        lambda data: data[:-3] + b"\0\0\0",
        lambda data: b"\x80\x04pickle." + data,
    ],
)
def test_a_damaged_file_is_told_and_can_be_put_aside(damage, tmp_path):
    files = CheckpointFiles(tmp_path)
    files.write(damage(pack(checkpoint())))
    with pytest.raises(CheckpointError):
        files.read()
    files.discard()
    assert files.read() is None


def test_another_schema_is_refused(tmp_path, monkeypatch):
    files = CheckpointFiles(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr("operando.streamer.io.checkpoint.files.SCHEMA", replace(SCHEMA, version=99))
        files.write(pack(checkpoint()))
    with pytest.raises(CheckpointError, match="schema 99"):
        files.read()
