"""Objects of the core to a tree of plain values, and back."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel

from ...errors import CheckpointError
from .files import SMALLEST, Blobs
from .schema import SCHEMA, Schema

_PLAIN = (bool, int, float, str, bytes, type(None))
_NUMPY_KINDS = "biufcSUmM"
LIST = "l"
TUPLE = "t"
SET = "s"
FROZENSET = "f"
DEQUE = "q"
DICT = "d"
COUNTER = "c"
ARRAY = "a"
BLOB = "b"
"""An array whose bytes lie in a file of their own."""
SCALAR = "n"
TENSOR = "T"
ENUM = "e"
DATACLASS = "D"
MODEL = "M"
COMPLEX = "j"
SEEN = "r"
"""The object that was the n-th to be written: it is one object again when it is read."""


def encode(value: object, blobs: Blobs | None = None, schema: Schema = SCHEMA) -> Any:
    """Turn a value into nested lists and plain values, for msgpack.

    An object that is met twice is written once, so that branches that share their templates share
    them again when they are read.

    Parameters
    ----------
    value : dataclasses, settings (pydantic models) and enums of the schema, numpy arrays and
        scalars, torch tensors, lists, tuples, sets, deques, mappings and plain values, nested.
    blobs : takes large arrays; without it they are written with the rest.
    schema : names the classes; none but those are written, or built when they are read.

    Raises
    ------
    CheckpointError
        Something in it is none of these; the text says where.
    """
    return _Encoder(blobs, schema).value(value, "state")


class _Encoder:
    """Remembers what was written, and keeps it alive so that no identity is used twice."""

    def __init__(self, blobs: Blobs | None, schema: Schema) -> None:
        self._blobs = blobs
        self._schema = schema
        self._seen: dict[int, int] = {}
        self._alive: list[object] = []

    def value(self, value: Any, where: str) -> Any:
        if type(value) in _PLAIN:
            return value
        number = self._seen.get(id(value))
        if number is not None:
            return [SEEN, number]
        writer = self._writer(value)
        if writer is None:
            raise CheckpointError(
                f"{where} is a {type(value).__qualname__}, which a checkpoint cannot hold: make "
                "it a frozen dataclass of arrays and plain values"
            )
        encoded = writer(value, where)
        # numbered when it is complete: the reader completes objects in the same order
        self._seen[id(value)] = len(self._alive)
        self._alive.append(value)
        return encoded

    def _writer(self, value: Any) -> Callable[[Any, str], Any] | None:
        if is_dataclass(value) and not isinstance(value, type):
            return self._dataclass
        for kind, writer in (
            (np.ndarray, self._array),
            (np.generic, _scalar),
            (torch.Tensor, self._tensor),
            (Enum, self._enum),
            (BaseModel, self._model),
            (complex, _complex),
            ((list, tuple, set, frozenset, deque), self._sequence),
            (Mapping, self._mapping),
        ):
            if isinstance(value, kind):
                return writer
        return None

    def _dataclass(self, value: Any, where: str) -> list[Any]:
        tag = self._schema.tag_of(type(value), where)
        entries: list[Any] = []
        for item in fields(value):
            entries += [item.name, self.value(getattr(value, item.name), f"{where}.{item.name}")]
        return [DATACLASS, tag, entries]

    def _enum(self, value: Enum, where: str) -> list[Any]:
        return [ENUM, self._schema.tag_of(type(value), where), value.name]

    def _model(self, value: BaseModel, where: str) -> list[Any]:
        return [MODEL, self._schema.tag_of(type(value), where), value.model_dump_json()]

    def _sequence(self, value: Any, where: str) -> list[Any]:
        kinds = {
            list: LIST,
            tuple: TUPLE,
            set: SET,
            frozenset: FROZENSET,
            deque: DEQUE,
        }
        kind = kinds.get(type(value))
        if kind is None:  # a named tuple would come back as a bare one
            raise CheckpointError(f"{where} is a {type(value).__qualname__}: use a dataclass")
        items = sorted(value) if isinstance(value, (set, frozenset)) else value
        return [kind, [self.value(item, f"{where}[{i}]") for i, item in enumerate(items)]]

    def _array(self, value: np.ndarray[Any, Any], where: str) -> list[Any]:
        if value.dtype.kind not in _NUMPY_KINDS:
            raise CheckpointError(f"{where} is an array of {value.dtype}, which has no plain bytes")
        form = [value.dtype.str, list(value.shape), _strides(value)]
        if self._blobs is not None and value.nbytes >= SMALLEST:
            blob = self._blobs.put(value)
            return [BLOB, *form, blob.name, blob.crc32]
        return [ARRAY, *form, value.tobytes()]

    def _tensor(self, value: torch.Tensor, _where: str) -> list[Any]:
        # not as a blob: the array is a new object each time
        array = value.detach().cpu().numpy()
        form = [array.dtype.str, list(array.shape), _strides(array), array.tobytes()]
        return [TENSOR, value.device.type, [ARRAY, *form]]

    def _mapping(self, value: Mapping[Any, Any], where: str) -> list[Any]:
        entries: list[Any] = []
        for key, item in value.items():
            entries += [self.value(key, f"{where} key"), self.value(item, f"{where}[{key!r}]")]
        return [COUNTER if isinstance(value, Counter) else DICT, entries]


def _strides(value: np.ndarray[Any, Any]) -> list[int] | None:
    """Strides of an array that is not in C order.

    They are kept because numpy adds up a strided array in another order than a contiguous one, and
    results after a restart are to be the same to the last bit.
    """
    return None if value.flags.c_contiguous else list(value.strides)


def _scalar(value: np.generic, where: str) -> list[Any]:
    if value.dtype.kind not in _NUMPY_KINDS:
        raise CheckpointError(f"{where} is a scalar of {value.dtype}, which has no plain bytes")
    return [SCALAR, value.dtype.str, value.tobytes()]


def _complex(value: complex, _where: str) -> list[Any]:
    return [COMPLEX, value.real, value.imag]


def decode(
    tree: Any,
    device: torch.device | str = "cpu",
    blobs: Blobs | None = None,
    schema: Schema = SCHEMA,
) -> Any:
    """Turn a tree that `encode` made back into objects.

    Parameters
    ----------
    tree : as it came from msgpack.
    device : where tensors go that were not in the main memory.
    blobs : has the large arrays.
    schema : knows the classes.

    Raises
    ------
    CheckpointError
        It is no such tree, or one of another version of the program.
    """
    try:
        return _Decoder(torch.device(device), blobs, schema).value(tree)
    except (TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
        why = " ".join(str(error).split())  # pydantic's errors have several lines
        raise CheckpointError(f"the checkpoint is not of this version: {why}") from error


class _Decoder:
    def __init__(self, device: torch.device, blobs: Blobs | None, schema: Schema) -> None:
        self._device = device
        self._blobs = blobs
        self._schema = schema
        self._done: list[Any] = []
        self._readers: dict[str, Callable[..., Any]] = {
            LIST: self._items,
            TUPLE: lambda items: tuple(self._items(items)),
            SET: lambda items: set(self._items(items)),
            FROZENSET: lambda items: frozenset(self._items(items)),
            DEQUE: lambda items: deque(self._items(items)),
            DICT: self._mapping,
            COUNTER: lambda entries: Counter(self._mapping(entries)),
            ARRAY: _array,
            BLOB: self._blob,
            SCALAR: _to_scalar,
            TENSOR: self._tensor,
            ENUM: self._enum,
            DATACLASS: self._dataclass,
            MODEL: self._model,
            COMPLEX: complex,
        }

    def value(self, tree: Any) -> Any:
        if type(tree) in _PLAIN:
            return tree
        kind, *rest = tree
        if kind == SEEN:
            return self._done[rest[0]]
        value = self._readers[kind](*rest)
        self._done.append(value)
        return value

    def _items(self, items: list[Any]) -> list[Any]:
        return [self.value(item) for item in items]

    def _mapping(self, entries: list[Any]) -> dict[Any, Any]:
        values = [self.value(entry) for entry in entries]
        return dict(zip(values[::2], values[1::2], strict=True))

    def _dataclass(self, tag: str, entries: list[Any]) -> Any:
        values = (self.value(entry) for entry in entries[1::2])
        return self._schema.make(tag, dict(zip(entries[::2], values, strict=True)))

    def _enum(self, tag: str, member: str) -> Enum:
        return self._schema.class_of(tag, Enum)[member]

    def _model(self, tag: str, text: str) -> BaseModel:
        return self._schema.class_of(tag, BaseModel).model_validate_json(text)

    def _blob(
        self, dtype: str, shape: list[int], strides: list[int] | None, name: str, crc32: int
    ) -> np.ndarray[Any, Any]:
        if self._blobs is None:
            raise CheckpointError("a large array of the checkpoint is not here")
        return _array(dtype, shape, strides, self._blobs.get(name, crc32))

    def _tensor(self, device: str, array: list[Any]) -> torch.Tensor:
        made = torch.from_numpy(_array(*array[1:]))
        return made if device == "cpu" else made.to(self._device)


def _array(
    dtype: str, shape: list[int], strides: list[int] | None, data: bytes
) -> np.ndarray[Any, Any]:
    values = np.frombuffer(bytearray(data), np.dtype(dtype)).reshape(shape)
    if strides is None:
        return values
    reach = [(n - 1) * stride for n, stride in zip(shape, strides, strict=True)]
    before = -sum(r for r in reach if r < 0)
    room = before + sum(r for r in reach if r > 0) + values.itemsize
    made = np.ndarray(shape, values.dtype, np.empty(room, np.uint8), before, strides)
    made[...] = values
    return made


def _to_scalar(dtype: str, data: bytes) -> Any:
    return np.frombuffer(data, np.dtype(dtype))[0]
