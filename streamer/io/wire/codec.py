"""Values to msgpack bytes and back: plain values and numpy arrays, nothing that can run code.

Arrays travel in the convention of ``msgpack_numpy`` (a map with the keys ``b'nd'``, ``b'type'``,
``b'kind'``, ``b'shape'``, ``b'data'``), so that stock parts write what is read here and read what
is written here. ``msgpack_numpy.decode`` itself unpickles whatever claims to be an object array;
this decoder knows only the dtype kinds b, i, u, f, c, S and U, and checks every size it is told.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import msgpack
import numpy as np
from numpy.typing import NDArray

from ...errors import WireError

_KINDS = "biufcSU"
_DTYPE = re.compile(rf"[<>|=]?[{_KINDS}][0-9]{{1,7}}")
_MAX_NDIM = 32  # of numpy before 2.0, 64 since
_MAX_NUMBER_BYTES = 128  # repr of a complex number has at most 50


class BadMessageError(WireError):
    """Bytes that are not a document, or a document that cannot become bytes.

    The text has the length and the reason, never the content.

    Attributes
    ----------
    kind : short stable word for the reason; logs speak once per kind.
    length : bytes of the message, 0 where there is none (encoding).
    """

    def __init__(self, kind: str, detail: str, length: int = 0) -> None:
        super().__init__(f"{detail} ({length} bytes)" if length else detail)
        self.kind = kind
        self.length = length


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of what the decoder accepts.

    Attributes
    ----------
    max_message_bytes : longest message, bytes.
    max_array_bytes : largest single array (or other binary value), bytes.
    max_items : most entries of one list or map.
    max_containers : most lists and maps in all; an empty one takes a byte of the message and 64 in
        memory.
    max_depth : deepest nesting of lists and maps.
    """

    max_message_bytes: int = 1 << 29
    max_array_bytes: int = 1 << 29
    max_items: int = 1_000_000
    max_containers: int = 1_000_000
    max_depth: int = 32


DEFAULT_LIMITS = Limits()


def dumps(value: object) -> bytes:
    """Encode a value; arrays are copied into the result.

    Parameters
    ----------
    value : nested dicts, lists, tuples, strings, bytes, numbers, None, and numpy arrays and scalars
        of the dtype kinds b, i, u, f, c, S, U. An object array is sent as nested lists.

    Raises
    ------
    BadMessageError
        The value holds something that has no safe encoding.
    """
    try:
        return cast(bytes, msgpack.packb(value, default=_encode, use_bin_type=True))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise BadMessageError("unencodable", f"cannot encode the document: {error}") from error


def loads(payload: bytes | memoryview, limits: Limits = DEFAULT_LIMITS) -> Any:
    """Decode a value that `dumps` or ``msgpack_numpy`` encoded.

    Arrays are read-only views of the bytes of their own entry.

    Raises
    ------
    BadMessageError
        The bytes are no msgpack, too long, too deep, or claim an array that is not allowed.
    """
    length = len(payload)
    if length > limits.max_message_bytes:
        raise BadMessageError("too_long", f"more than {limits.max_message_bytes} bytes", length)
    try:
        value = msgpack.unpackb(payload, **_counted(limits))
    except BadMessageError as error:
        raise BadMessageError(error.kind, str(error), length) from None
    except (ValueError, TypeError, OverflowError, MemoryError, msgpack.UnpackException):
        # The library's own texts quote the bytes it stumbled over: they must not be passed on.
        raise BadMessageError("not_msgpack", "not well-formed msgpack", length) from None
    if too_deep(value, limits.max_depth):
        detail = f"nested deeper than {limits.max_depth} levels"
        raise BadMessageError("too_deep", detail, length)
    return value


def _counted(limits: Limits) -> dict[str, Any]:
    """Return the options for one message, with its lists and maps counted."""
    left = limits.max_containers

    def count(container: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            detail = f"more than {limits.max_containers} lists and maps"
            raise BadMessageError("too_many", detail)
        return container

    options = unpack_options(limits, lambda entry: count(decode_map(entry, limits)))
    return {**options, "list_hook": count}


def unpack_options(
    limits: Limits, hook: Callable[[dict[Any, Any]], Any] | None = None
) -> dict[str, Any]:
    """Return keyword arguments that make ``msgpack.unpackb`` or ``msgpack.Unpacker`` safe.

    Parameters
    ----------
    limits : what to accept.
    hook : replaces `decode_map` as the reader of maps.
    """
    return {
        "object_hook": hook or partial(decode_map, limits=limits),
        "ext_hook": _refuse_extension,
        "raw": False,
        "strict_map_key": False,
        "timestamp": 1,
        "max_str_len": limits.max_array_bytes,
        "max_bin_len": limits.max_array_bytes,
        "max_array_len": limits.max_items,
        "max_map_len": limits.max_items,
        "max_ext_len": 16,
    }


def decode_map(entry: dict[Any, Any], limits: Limits = DEFAULT_LIMITS) -> Any:
    """Return the array, numpy scalar or complex number that a map stands for, else the map."""
    if b"nd" in entry:
        return _decode_numpy(entry, limits)
    if b"complex" in entry:
        return _decode_complex(entry)
    return entry


def too_deep(value: object, max_depth: int) -> bool:
    """Return whether lists and maps are nested deeper than `max_depth` levels."""
    level = _containers([value])
    for _ in range(max_depth):
        if not level:
            return False
        level = [deeper for parent in level for deeper in _containers(_children(parent))]
    return bool(level)


def _children(parent: Any) -> Iterable[Any]:
    return parent.values() if type(parent) is dict else parent


def _containers(values: Iterable[Any]) -> list[Any]:
    return [value for value in values if type(value) is dict or type(value) is list]


def nbytes(value: object) -> int:
    """Return about how many bytes a decoded value holds in memory, arrays exactly."""
    total = 0
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, Mapping):
            stack.extend(item.values())
            total += 64 * len(item)
        elif isinstance(item, list | tuple):
            stack.extend(item)
            total += 8 * len(item)
        elif isinstance(item, np.ndarray):
            total += item.nbytes
        elif isinstance(item, str | bytes):
            total += len(item)
        else:
            total += 8
    return total


def _encode(value: object) -> object:
    if isinstance(value, np.ndarray):
        return _encode_array(value)
    if isinstance(value, np.generic) and value.dtype.kind in _KINDS:
        return {b"nd": False, b"type": value.dtype.str, b"data": value.tobytes()}
    if isinstance(value, complex):
        return {b"complex": True, b"data": repr(value)}
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no safe encoding")


def _encode_array(array: NDArray[Any]) -> object:
    if array.dtype.kind == "O":
        return array.tolist()
    if array.dtype.kind not in _KINDS:
        raise TypeError(f"an array of dtype {array.dtype} has no safe encoding")
    return {
        b"nd": True,
        b"type": array.dtype.str,
        b"kind": b"",
        b"shape": array.shape,
        b"data": array.data if array.flags.c_contiguous else array.tobytes(),
    }


def _decode_numpy(entry: dict[Any, Any], limits: Limits) -> Any:
    dtype = _dtype(entry)
    data = entry.get(b"data")
    if not isinstance(data, bytes):
        raise BadMessageError("bad_array", "an array without binary data")
    if entry[b"nd"] is False:
        shape = ()
    elif entry[b"nd"] is True:
        shape = _shape(entry)
    else:
        raise BadMessageError("bad_array", "an array whose b'nd' is not a bool")
    expected = math.prod(shape) * dtype.itemsize
    if expected > limits.max_array_bytes:
        raise BadMessageError("big_array", f"an array of more than {limits.max_array_bytes} bytes")
    if expected != len(data):
        raise BadMessageError("bad_array", "an array whose shape and data disagree in size")
    try:
        array = np.ndarray(shape=shape, dtype=dtype, buffer=data)
    except ValueError:
        raise BadMessageError("bad_array", "an array of an impossible shape") from None
    return array if entry[b"nd"] else array[()]


def _dtype(entry: dict[Any, Any]) -> np.dtype[Any]:
    text = entry.get(b"type")
    if isinstance(text, bytes):
        text = text.decode("ascii", "replace")
    plain = entry.get(b"kind", b"") in (b"", "")
    if not plain or not isinstance(text, str) or not _DTYPE.fullmatch(text):
        detail = f"an array dtype other than the kinds {' '.join(_KINDS)}"
        raise BadMessageError("forbidden_dtype", detail)
    try:
        dtype = np.dtype(text)
    except TypeError:
        raise BadMessageError("forbidden_dtype", "an array dtype that numpy lacks") from None
    if dtype.itemsize == 0:
        raise BadMessageError("forbidden_dtype", "an array dtype of no size")
    return dtype


def _shape(entry: dict[Any, Any]) -> tuple[int, ...]:
    shape = entry.get(b"shape")
    if not isinstance(shape, list | tuple) or len(shape) > _MAX_NDIM:
        raise BadMessageError("bad_array", "an array without a usable shape")
    if not all(type(n) is int and 0 <= n < 1 << 62 for n in shape):
        raise BadMessageError("bad_array", "an array whose shape is not made of lengths")
    return tuple(shape)


def _decode_complex(entry: dict[Any, Any]) -> complex:
    text = entry.get(b"data")
    if isinstance(text, bytes):
        text = text.decode("ascii", "replace")
    if not isinstance(text, str) or len(text) > _MAX_NUMBER_BYTES:
        raise BadMessageError("bad_number", "a complex number that is no short text")
    try:
        return complex(text)
    except ValueError:
        raise BadMessageError("bad_number", "a complex number that cannot be parsed") from None


def _refuse_extension(_code: int, _data: bytes) -> Any:
    raise BadMessageError("extension", "a msgpack extension type")
