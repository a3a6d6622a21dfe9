"""A tree of plain values back to the objects it was made of."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import Enum
from pkgutil import resolve_name
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel

from ..errors import CheckpointError
from . import tags
from .blobs import Blobs

_PLAIN = (bool, int, float, str, bytes, type(None))


def decode(tree: Any, device: torch.device | str = "cpu", blobs: Blobs | None = None) -> Any:
    """Turn a tree that `encode` made back into objects.

    Parameters
    ----------
    tree : as it came from msgpack.
    device : where tensors go that were not in the main memory.
    blobs : has the large arrays.

    Raises
    ------
    CheckpointError
        It is no such tree, or one of another version of the program.
    """
    try:
        return _Decoder(torch.device(device), blobs).value(tree)
    except (TypeError, ValueError, IndexError, KeyError, AttributeError, ImportError) as error:
        raise CheckpointError(f"the checkpoint is not of this version: {error}") from error


class _Decoder:
    def __init__(self, device: torch.device, blobs: Blobs | None) -> None:
        self._device = device
        self._blobs = blobs
        self._done: list[Any] = []
        self._readers: dict[str, Callable[..., Any]] = {
            tags.LIST: self._items,
            tags.TUPLE: lambda items: tuple(self._items(items)),
            tags.SET: lambda items: set(self._items(items)),
            tags.FROZENSET: lambda items: frozenset(self._items(items)),
            tags.DEQUE: lambda items: deque(self._items(items)),
            tags.DICT: self._mapping,
            tags.COUNTER: lambda entries: Counter(self._mapping(entries)),
            tags.ARRAY: _array,
            tags.BLOB: self._blob,
            tags.SCALAR: _to_scalar,
            tags.TENSOR: self._tensor,
            tags.ENUM: _to_enum,
            tags.DATACLASS: self._dataclass,
            tags.MODEL: _to_model,
            tags.COMPLEX: complex,
        }

    def value(self, tree: Any) -> Any:
        if type(tree) in _PLAIN:
            return tree
        kind, *rest = tree
        if kind == tags.SEEN:
            return self._done[rest[0]]
        value = self._readers[kind](*rest)
        self._done.append(value)
        return value

    def _items(self, items: list[Any]) -> list[Any]:
        return [self.value(item) for item in items]

    def _mapping(self, entries: list[Any]) -> dict[Any, Any]:
        values = [self.value(entry) for entry in entries]
        return dict(zip(values[::2], values[1::2], strict=True))

    def _dataclass(self, name: str, entries: list[Any]) -> Any:
        cls = _class(name)
        if not (isinstance(cls, type) and is_dataclass(cls)):
            raise CheckpointError(f"{name} is no dataclass")
        values = dict(zip(entries[::2], (self.value(v) for v in entries[1::2]), strict=True))
        expected = {item.name for item in fields(cls)}
        if values.keys() != expected:
            odd = ", ".join(sorted(values.keys() ^ expected))
            raise CheckpointError(f"{name} has other fields now: {odd}")
        # as it was, not as a constructor would make it anew
        made = object.__new__(cls)
        for field, value in values.items():
            object.__setattr__(made, field, value)
        return made

    def _blob(
        self, dtype: str, shape: list[int], strides: list[int] | None, name: str, crc32: int
    ) -> np.ndarray[Any, Any]:
        if self._blobs is None:
            raise CheckpointError("a large array of the checkpoint is not here")
        return _array(dtype, shape, strides, self._blobs.get(name, crc32))

    def _tensor(self, device: str, array: list[Any]) -> torch.Tensor:
        made = torch.from_numpy(_array(*array[1:]))
        return made if device == "cpu" else made.to(self._device)


def _class(name: str) -> Any:
    if not name.startswith(tags.PACKAGE):
        raise CheckpointError(f"{name} is not a class of this program")
    return resolve_name(name)


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


def _to_enum(name: str, member: str) -> Enum:
    cls = _class(name)
    if not (isinstance(cls, type) and issubclass(cls, Enum)):
        raise CheckpointError(f"{name} is no enumeration")
    return cls[member]


def _to_model(name: str, text: str) -> BaseModel:
    cls = _class(name)
    if not (isinstance(cls, type) and issubclass(cls, BaseModel)):
        raise CheckpointError(f"{name} is no model of settings")
    return cls.model_validate_json(text)
