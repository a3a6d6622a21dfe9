"""Bytes that are no document, by the reason for which they are refused."""

from __future__ import annotations

import json
import os
import pickle
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgpack
import msgpack_numpy
import numpy as np

from operando.streamer.io.wire.message import pack

Make = Callable[[Path], bytes]

EVENT = {
    "uid": "e-1",
    "descriptor": "d-1",
    "seq_num": 1,
    "time": 1.5,
    "data": {"img": np.arange(12, dtype=np.uint16).reshape(3, 4), "XEng": 8.333},
    "timestamps": {"img": 1.5, "XEng": 1.5},
    "filled": {},
}
ARRAY = {b"nd": True, b"type": "<f8", b"kind": b"", b"shape": [2], b"data": bytes(16)}
GOOD = pack("event", EVENT)


class Bomb:
    """Unpickles to a call that creates the canary."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return os.makedirs, (str(self.canary), 0o700, True)


@dataclass(frozen=True)
class Message:
    """A hostile message.

    Attributes
    ----------
    name : of the case. kind : why it is refused, as `BadMessageError.kind` says.
    make : the message, given the path of the canary.
    """

    name: str
    kind: str
    make: Make


def stock(value: object) -> bytes:
    """Encode as a beamline with stock parts does, which pickles object arrays."""
    return msgpack.packb(value, default=msgpack_numpy.encode)


def _event(payload: bytes) -> bytes:
    return b" event " + payload


def _fixed(name: str, kind: str, message: bytes) -> Message:
    return Message(name, kind, lambda _canary: message)


def _noise(length: int, seed: int) -> bytes:
    """Random bytes without a space, so that they have no head."""
    return random.Random(seed).randbytes(length).replace(b" ", b"_")


HEADERS = [
    _fixed("empty", "no_header", b""),
    _fixed("one byte", "no_header", b"x"),
    _fixed("name only", "no_header", b" event"),
    _fixed("two spaces", "unknown_name", b"  "),
    _fixed("no space in 10 kB", "no_header", b"x" * 10_000),
    _fixed("no space in 100 kB of ff", "no_header", b"\xff" * 100_000),
    *(_fixed(f"noise of {n} bytes", "no_header", _noise(n, n)) for n in (2, 7, 64, 4096, 65536)),
    _fixed("unknown name", "unknown_name", b" foo " + msgpack.packb({})),
    _fixed("name in capitals", "unknown_name", b" START " + msgpack.packb({"uid": "x"})),
    _fixed("name that is no text", "unknown_name", b" \xff\xfe " + msgpack.packb({})),
    _fixed("name with a NUL", "unknown_name", b" event\0 " + msgpack.packb({})),
    _fixed("name with a line break", "unknown_name", b" event\nERROR " + msgpack.packb({})),
    _fixed("name of 200 bytes", "unknown_name", b" " + b"e" * 200 + b" " + msgpack.packb({})),
    _fixed("name of 100 kB", "no_header", b" " + b"e" * 100_000 + b" " + msgpack.packb({})),
    _fixed("attribute of a name", "unknown_name", b" __class__ " + msgpack.packb({})),
]

NO_DOCUMENTS = [
    _fixed(f"payload {text}", "not_a_document", _event(msgpack.packb(value)))
    for text, value in {
        "list": [1], "number": 1, "nil": None, "text": "x", "bytes": b"x", "true": True,
        "keys that are numbers": {1: 2}, "keys that are bytes": {b"uid": 2}, "nil key": {None: 1},
        "one key that is a number": {"uid": "x", 3: 4},
    }.items()
] + [
    _fixed("payload that is an array", "not_a_document", _event(stock(np.zeros(3)))),
    _fixed("payload that is a complex number", "not_a_document", _event(stock(1j))),
]  # fmt: skip


def _crowd(filling: bytes) -> bytes:
    """Three lists of a million entries of one byte."""
    million = b"\xdd" + (1_000_000).to_bytes(4, "big") + filling * 1_000_000
    return b"\x81\xa1x\x93" + million * 3


def _field(value: bytes) -> bytes:
    """An event with one entry."""
    return _event(b"\x81\xa1x" + value)


BROKEN = [
    _fixed("no payload", "not_msgpack", _event(b"")),
    _fixed("reserved byte", "not_msgpack", _event(b"\xc1")),
    _fixed("trailing byte", "not_msgpack", _event(msgpack.packb({}) + b"x")),
    _fixed("two documents", "not_msgpack", _event(msgpack.packb({}) * 2)),
    *(
        _fixed(f"cut off after {n} bytes", "not_msgpack", GOOD[:n])
        for n in (8, 12, 60, len(GOOD) // 2, len(GOOD) - 1)
    ),
    _fixed("text that is no UTF-8", "not_msgpack", _event(b"\x81\xa2\xff\xfe\x01")),
    _fixed("key that cannot be a key", "not_msgpack", _event(b"\x81\x90\x01")),
    _fixed("list of 4 G entries", "not_msgpack", _event(b"\xdd\xff\xff\xff\xff")),
    _fixed("map of 4 G entries", "not_msgpack", _event(b"\xdf\xff\xff\xff\xff")),
    _fixed("text of 4 GB", "not_msgpack", _event(b"\x81\xa1x\xdb\xff\xff\xff\xff")),
    _fixed("bytes of 4 GB", "not_msgpack", _event(b"\x81\xa1x\xc6\xff\xff\xff\xff")),
    _fixed("extension of 4 GB", "not_msgpack", _event(b"\x81\xa1x\xc9\xff\xff\xff\xff\x05")),
    _fixed("lists of 4 G entries, nested", "not_msgpack", _event(b"\xdd\xff\xff\xff\xff" * 50)),
    _fixed("lists 2000 deep without an end", "not_msgpack", _event(b"\x91" * 2000)),
    _fixed("lists 100 deep", "too_deep", _event(b"\x81\xa1x" + b"\x91" * 100 + b"\x01")),
    _fixed("maps 100 deep", "too_deep", _event(b"\x81\xa1x" * 100 + b"\x01")),
    _fixed("maps 100000 deep", "not_msgpack", _event(b"\x81\xa1x" * 100_000 + b"\x01")),
    _fixed("three million empty maps", "too_many", _event(_crowd(b"\x80"))),
    _fixed("three million empty lists", "too_many", _event(_crowd(b"\x90"))),
    _fixed("JSON", "not_msgpack", _event(json.dumps({"uid": "x"}).encode())),
    _fixed("deflated", "not_msgpack", _event(zlib.compress(bytes(1000)))),
    _fixed("extension type", "extension", _field(msgpack.packb(msgpack.ExtType(5, b"x")))),
    _fixed("timestamp with too many ns", "not_msgpack", _field(b"\xd7\xff" + b"\xff" * 8)),
    _fixed("timestamp of 12 bytes", "not_msgpack", _field(b"\xc7\x0c\xff" + b"\xff" * 12)),
    _fixed("timestamp of 3 bytes", "not_msgpack", _field(b"\xc7\x03\xffabc")),
]  # fmt: skip

_CHANGES = {
    "of objects": ({b"type": "|O"}, "forbidden_dtype"),
    "of dates": ({b"type": "<M8[ns]"}, "forbidden_dtype"),
    "of records": ({b"type": [["a", "<f8"]]}, "forbidden_dtype"),
    "of records in a text": ({b"type": "<f8,<f8"}, "forbidden_dtype"),
    "of a type that numpy lacks": ({b"type": "<f7"}, "forbidden_dtype"),
    "of items of no size": ({b"type": "|S0"}, "forbidden_dtype"),
    "of items of 10 GB": ({b"type": "|S9999999999"}, "forbidden_dtype"),
    "without a type": ({b"type": None}, "forbidden_dtype"),
    "of a type that is code": ({b"type": "__import__('os').system('x')"}, "forbidden_dtype"),
    "of kind O": ({b"kind": b"O"}, "forbidden_dtype"),
    "of kind V": ({b"kind": b"V"}, "forbidden_dtype"),
    "of another length": ({b"shape": [3]}, "bad_array"),
    "of negative length": ({b"shape": [-2, -1]}, "bad_array"),
    "of half a length": ({b"shape": [2.0]}, "bad_array"),
    "of true length": ({b"shape": [True, 2]}, "bad_array"),
    "without a shape": ({b"shape": None}, "bad_array"),
    "of 40 axes": ({b"shape": [1] * 40}, "bad_array"),
    "of nothing, enormous": ({b"shape": [0, 1 << 61, 1 << 61], b"data": b""}, "bad_array"),
    "of 2**122 items": ({b"shape": [1 << 61, 1 << 61]}, "big_array"),
    "of 1 TB in 16 bytes": ({b"shape": [1 << 37]}, "big_array"),
    "whose data are text": ({b"data": "x" * 16}, "bad_array"),
    "without data": ({b"data": None}, "bad_array"),
    "that is neither": ({b"nd": 1}, "bad_array"),
    "that is a scalar of two": ({b"nd": False}, "bad_array"),
    "that is a list": ({b"nd": [1]}, "bad_array"),
}
ARRAYS = [
    _fixed(f"array {name}", kind, _event(msgpack.packb({"data": {"img": {**ARRAY, **change}}})))
    for name, (change, kind) in _CHANGES.items()
]
NUMBERS = [
    _fixed(f"complex number {name}", "bad_number", _event(msgpack.packb({"x": entry})))
    for name, entry in {
        "that is code": {b"complex": True, b"data": "__import__('os').system('x')"},
        "of 4 kB": {b"complex": True, b"data": "1" * 4096},
        "without a value": {b"complex": True},
    }.items()
]


def _object_array(canary: Path) -> bytes:
    return _event(stock({"data": {"img": np.array([Bomb(canary)], dtype=object)}}))


def _structured(canary: Path) -> bytes:
    array = np.zeros(2, dtype=[("a", "<f8"), ("b", object)])
    array["b"] = Bomb(canary)
    return _event(stock({"data": {"img": array}}))


def _claimed(canary: Path) -> bytes:
    """A pickle that says it is numbers in the type and objects in the kind."""
    entry = {**ARRAY, b"kind": b"O", b"data": pickle.dumps(np.array([Bomb(canary)], object))}
    return _event(msgpack.packb({"data": {"img": entry}}))


def _untyped(canary: Path) -> bytes:
    entry = {b"nd": True, b"type": "O", b"shape": [1], b"data": pickle.dumps([Bomb(canary)])}
    return _event(msgpack.packb({"img": entry}))


PAYLOADS = [
    *(
        Message(
            f"pickle of protocol {protocol}",
            "not_msgpack",
            lambda canary, p=protocol: _event(pickle.dumps({"data": Bomb(canary)}, protocol=p)),
        )
        for protocol in range(6)
    ),
    Message("pickle as start document", "not_msgpack",
            lambda canary: b" start " + pickle.dumps(Bomb(canary))),
    Message("pickle in an object array", "forbidden_dtype", _object_array),
    Message("pickle in an array that claims to be numbers", "forbidden_dtype", _claimed),
]  # fmt: skip
"""Payloads that run code in whoever trusts them."""

UNTYPED = Message("pickle in an array of type O without a kind", "forbidden_dtype", _untyped)
POINTERS = Message("record array with pointers in it", "forbidden_dtype", _structured)
"""Its bytes are addresses in the sender's memory."""

MESSAGES = [*HEADERS, *NO_DOCUMENTS, *BROKEN, *ARRAYS, *NUMBERS, *PAYLOADS, UNTYPED, POINTERS]
