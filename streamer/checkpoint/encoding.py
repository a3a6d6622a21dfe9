"""Objects of the core to a tree of plain values."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel

from ..errors import CheckpointError
from . import tags
from .blobs import SMALLEST, Blobs

_PLAIN = (bool, int, float, str, bytes, type(None))
_NUMPY_KINDS = "biufcSUmM"


def encode(value: object, blobs: Blobs | None = None) -> Any:
    """Turn a value into nested lists and plain values, for msgpack.

    An object that is met twice is written once, so that branches that share their templates share
    them again when they are read.

    Parameters
    ----------
    value : dataclasses, settings (pydantic models) and enums of this package, numpy arrays and
        scalars, torch tensors, lists, tuples, sets, deques, mappings and plain values, nested.
    blobs : takes large arrays; without it they are written with the rest.

    Raises
    ------
    CheckpointError
        Something in it is none of these; the text says where.
    """
    return _Encoder(blobs).value(value, "state")


class _Encoder:
    """Remembers what was written, and keeps it alive so that no identity is used twice."""

    def __init__(self, blobs: Blobs | None) -> None:
        self._blobs = blobs
        self._seen: dict[int, int] = {}
        self._alive: list[object] = []

    def value(self, value: Any, where: str) -> Any:
        if type(value) in _PLAIN:
            return value
        number = self._seen.get(id(value))
        if number is not None:
            return [tags.SEEN, number]
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
            (Enum, _enum),
            (BaseModel, _model),
            (complex, _complex),
            ((list, tuple, set, frozenset, deque), self._sequence),
            (Mapping, self._mapping),
        ):
            if isinstance(value, kind):
                return writer
        return None

    def _dataclass(self, value: Any, where: str) -> list[Any]:
        entries: list[Any] = []
        for item in fields(value):
            entries += [item.name, self.value(getattr(value, item.name), f"{where}.{item.name}")]
        return [tags.DATACLASS, _class_name(type(value), where), entries]

    def _sequence(self, value: Any, where: str) -> list[Any]:
        kinds = {
            list: tags.LIST,
            tuple: tags.TUPLE,
            set: tags.SET,
            frozenset: tags.FROZENSET,
            deque: tags.DEQUE,
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
            return [tags.BLOB, *form, blob.name, blob.crc32]
        return [tags.ARRAY, *form, value.tobytes()]

    def _tensor(self, value: torch.Tensor, _where: str) -> list[Any]:
        # not as a blob: the array is a new object each time
        array = value.detach().cpu().numpy()
        form = [array.dtype.str, list(array.shape), _strides(array), array.tobytes()]
        return [tags.TENSOR, value.device.type, [tags.ARRAY, *form]]

    def _mapping(self, value: Mapping[Any, Any], where: str) -> list[Any]:
        entries: list[Any] = []
        for key, item in value.items():
            entries += [self.value(key, f"{where} key"), self.value(item, f"{where}[{key!r}]")]
        return [tags.COUNTER if isinstance(value, Counter) else tags.DICT, entries]


def _class_name(cls: type, where: str) -> str:
    if not cls.__module__.startswith(tags.PACKAGE):
        raise CheckpointError(f"{where} is a {cls.__module__}.{cls.__qualname__}, not one of ours")
    return f"{cls.__module__}:{cls.__qualname__}"


def _strides(value: np.ndarray[Any, Any]) -> list[int] | None:
    """Strides of an array that is not in C order.

    They are kept because numpy adds up a strided array in another order than a contiguous one, and
    results after a restart are to be the same to the last bit.
    """
    return None if value.flags.c_contiguous else list(value.strides)


def _scalar(value: np.generic, where: str) -> list[Any]:
    if value.dtype.kind not in _NUMPY_KINDS:
        raise CheckpointError(f"{where} is a scalar of {value.dtype}, which has no plain bytes")
    return [tags.SCALAR, value.dtype.str, value.tobytes()]


def _enum(value: Enum, where: str) -> list[Any]:
    return [tags.ENUM, _class_name(type(value), where), value.name]


def _model(value: BaseModel, where: str) -> list[Any]:
    return [tags.MODEL, _class_name(type(value), where), value.model_dump_json()]


def _complex(value: complex, _where: str) -> list[Any]:
    return [tags.COMPLEX, value.real, value.imag]
