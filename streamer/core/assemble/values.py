"""Read values, energies and exposures out of documents that nobody has checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

LARGEST = 2**40
"""No count or index of a document is larger; keeps arithmetic and file names bounded."""

KEV_BELOW = 1000.0
"""A photon energy without units is keV below this: by eye, as no beamline has 1000 keV, and hard
X-ray edges lie above 1000 eV (soft X-ray beamlines must name the unit)."""

_LATEST = 1e11  # s, in the year 5138: no clock shows a later time
_BEYOND_ANY = 1e9  # eV, keV, s or us: by eye, far above every energy and exposure
_EV = frozenset({"ev", "electronvolt", "electronvolts", "electron_volt"})
_KEV = frozenset({"kev", "kiloelectronvolt", "kiloelectronvolts", "kilo_electron_volt"})
_MS = frozenset({"ms", "msec", "millisecond", "milliseconds"})
_US = frozenset({"us", "usec", "µs", "microsecond", "microseconds"})


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
    """Return the finite float of a number, a numpy scalar or an array of one number; else None."""
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
    """Return the time of a document, s since the epoch; None where no clock could have shown it.

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
    """Read the in-line images of one event.

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
    if array.dtype.kind not in "biuf":
        raise MalformedDocument(f"pixels should be real numbers, got dtype {array.dtype}")
    if array.ndim == 4 and array.shape[0] == 1:
        array = array[0]
    if array.ndim not in (2, 3):
        raise MalformedDocument(f"pixels should be (H, W) or (n, H, W), got {array.shape}")
    if array.size == 0:
        raise MalformedDocument(f"pixels of shape {array.shape} hold nothing")
    return array


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """Source of a scalar of the images of a stream.

    Attributes
    ----------
    key : event data key to read, None if it is not in the events.
    scale : factor to eV (or s); None: by magnitude, see `scaled_energy`.
    constant : value for all events, eV or s, if it is not in the events.
    series : one value per event, eV, if it is not in the events.
    guessed : `constant` or `series` was taken for keV because it is small.
    """

    key: str | None = None
    scale: float | None = 1.0
    constant: float | None = None
    series: tuple[float, ...] = ()
    guessed: bool = False


def energy_scale(units: Any, setting: Literal["auto", "eV", "keV"]) -> float | None:
    """Return the factor from the documents' unit to eV; None where only the magnitude can tell."""
    if setting != "auto":
        return 1000.0 if setting == "keV" else 1.0
    word = units.strip().lower() if isinstance(units, str) else ""
    if word in _KEV:
        return 1000.0
    return 1.0 if word in _EV else None


def is_energy_unit(units: Any) -> bool:
    """Tell whether `units` is eV or keV."""
    return isinstance(units, str) and units.strip().lower() in _EV | _KEV


def exposure_scale(units: Any) -> float:
    """Return the factor from the documents' unit to s; s where they name none."""
    word = units.strip().lower() if isinstance(units, str) else ""
    if word in _MS:
        return 1e-3
    return 1e-6 if word in _US else 1.0


def scaled_energy(value: float, scale: float | None) -> float:
    """Return an energy in eV; without a scale, values below 1000 are taken for keV."""
    if scale is None:
        scale = 1000.0 if value < KEV_BELOW else 1.0
    return value * scale


def positive(value: Any) -> float | None:
    """Return a number above zero that an energy or an exposure can have, else None."""
    result = number(value)
    return result if result is not None and 0 < result < _BEYOND_ANY else None


def value_of(
    source: Quantity | None, data: Mapping[str, Any], index: int
) -> tuple[float | None, bool]:
    """Read the energy or the exposure of one event.

    Parameters
    ----------
    source : where it comes from.
    data : data of the event, {} if there is none.
    index : 0-based count of the event in its stream.

    Returns
    -------
    value : eV or s, None if unknown.
    guessed : an energy was taken for keV because it is small.
    """
    if source is None:
        return None, False
    if source.key is not None:
        value = positive(data.get(source.key))
        if value is None:
            return None, False
        guessed = source.scale is None and value < KEV_BELOW
        return scaled_energy(value, source.scale), guessed
    if source.series:
        known = 0 <= index < len(source.series)
        return source.series[index] if known else None, source.guessed
    return source.constant, source.guessed
