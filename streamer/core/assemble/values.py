"""Reads values out of documents that nobody has checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST = 2**40
"""No count or index of a document is larger; keeps arithmetic and file names bounded."""

_LATEST = 1e11  # in the year 5138

NUMERIC_KINDS = frozenset("biuf")


class MalformedDocument(ValueError):
    """A document lacks what it must have; the message says what."""


def text(doc: Mapping[Any, Any], key: str) -> str:
    """Return the non-empty string under `key`; raise `MalformedDocument` if there is none."""
    value = doc.get(key)
    if isinstance(value, str) and value:
        return value
    raise MalformedDocument(f"{key!r} should be a non-empty string, got {type(value).__name__}")


def optional_text(doc: Mapping[Any, Any], key: str) -> str:
    """Return the string under `key`, "" if it is absent or something else."""
    value = doc.get(key)
    return value if isinstance(value, str) else ""


def section(doc: Mapping[Any, Any], key: str) -> dict[str, Any]:
    """Return the mapping under `key` with its string keys only, {} if it is no mapping."""
    value = doc.get(key)
    if not isinstance(value, Mapping):
        return {}
    return {k: v for k, v in value.items() if isinstance(k, str)}


def sequence(value: Any) -> Sequence[Any]:
    """Return `value` if it is a list, tuple or array with a length, else ()."""
    if isinstance(value, list | tuple):
        return value
    if isinstance(value, np.ndarray) and value.ndim > 0:
        return value  # pyright: ignore[reportReturnType]
    return ()


def number(value: Any) -> float | None:
    """Finite float of a number, a numpy scalar or an array of one number; else None."""
    if isinstance(value, np.ndarray):
        return number(value.reshape(-1)[0]) if value.size == 1 else None
    if isinstance(value, list | tuple):
        return number(value[0]) if len(value) == 1 and not isinstance(value[0], list) else None
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number):
        return None
    if isinstance(value, np.complexfloating):
        return None
    try:
        result = float(value)
    except OverflowError:
        return None
    return result if math.isfinite(result) else None


def seconds(value: Any) -> float | None:
    """Time of a document, s since the epoch; None where it is none that a clock could have shown.

    A clock that says 1e300 must not make velocities of 0, nor overflow where times are squared.
    """
    result = number(value)
    return result if result is not None and 0.0 <= result < _LATEST else None


def integer(value: Any) -> int | None:
    """Return an int if `value` is a whole number, else None."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    result = number(value)
    return int(result) if result is not None and result.is_integer() else None


def pixels(value: Any) -> NDArray[Any]:
    """In-line images of one event.

    Parameters
    ----------
    value : array, list of arrays or nested lists, (H, W), (n, H, W) or (1, n, H, W).

    Returns
    -------
    array : (H, W) or (n, H, W), a view where possible.

    Raises
    ------
    MalformedDocument
        If it is no array of real numbers of that shape.
    """
    if not isinstance(value, np.ndarray | list | tuple):
        raise MalformedDocument(f"pixels should be an array, got {type(value).__name__}")
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise MalformedDocument(f"pixels are no rectangular array: {error}") from error
    if array.dtype.kind not in NUMERIC_KINDS:
        raise MalformedDocument(f"pixels should be real numbers, got dtype {array.dtype}")
    if array.ndim == 4 and array.shape[0] == 1:
        array = array[0]
    if array.ndim not in (2, 3) or array.size == 0:
        raise MalformedDocument(f"pixels should be (H, W) or (n, H, W), got {array.shape}")
    return array
