"""Photon energies and exposure times, from wherever a beamline writes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .values import number

KEV_BELOW = 1000.0

_BEYOND_ANY = 1e9  # eV, keV, s or us

_EV = frozenset({"ev", "electronvolt", "electronvolts", "electron_volt"})

_KEV = frozenset({"kev", "kiloelectronvolt", "kiloelectronvolts", "kilo_electron_volt"})

_MS = frozenset({"ms", "msec", "millisecond", "milliseconds"})

_US = frozenset({"us", "usec", "µs", "microsecond", "microseconds"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """Where a scalar of the images of a stream comes from.

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
    """Factor from the documents' unit to eV; None where only the magnitude can tell."""
    if setting != "auto":
        return 1000.0 if setting == "keV" else 1.0
    word = units.strip().lower() if isinstance(units, str) else ""
    if word in _KEV:
        return 1000.0
    return 1.0 if word in _EV else None


def is_energy_unit(units: Any) -> bool:
    """Whether `units` is eV or keV."""
    return isinstance(units, str) and units.strip().lower() in _EV | _KEV


def exposure_scale(units: Any) -> float:
    """Factor from the documents' unit to s; s where they name none."""
    word = units.strip().lower() if isinstance(units, str) else ""
    if word in _MS:
        return 1e-3
    return 1e-6 if word in _US else 1.0


def scaled_energy(value: float, scale: float | None) -> float:
    """Energy in eV; without a scale, values below 1000 are taken for keV."""
    if scale is None:
        scale = 1000.0 if value < KEV_BELOW else 1.0
    return value * scale


def positive(value: Any) -> float | None:
    """Return a number above zero that an energy or an exposure can have, else None."""
    result = number(value)
    return result if result is not None and 0 < result < _BEYOND_ANY else None


def energy_of(source: Quantity | None, data: Mapping[str, Any], index: int) -> float | None:
    """Energy of one event, eV, None if unknown.

    Parameters
    ----------
    source : where the energy comes from.
    data : data of the event, {} if there is none.
    index : 0-based count of the event in its stream.
    """
    if source is None:
        return None
    if source.key is not None:
        value = positive(data.get(source.key))
        return None if value is None else scaled_energy(value, source.scale)
    if source.series:
        return source.series[index] if 0 <= index < len(source.series) else None
    return source.constant


def was_guessed(source: Quantity, data: Mapping[str, Any]) -> bool:
    """Whether the energy of an event was taken for keV because it is small."""
    if source.key is None:
        return source.guessed
    value = positive(data.get(source.key))
    return source.scale is None and value is not None and value < KEV_BELOW


def exposure_of(source: Quantity | None, data: Mapping[str, Any]) -> float | None:
    """Exposure per image of one event, s, None if unknown."""
    if source is None:
        return None
    if source.key is not None:
        value = positive(data.get(source.key))
        return None if value is None else value * (source.scale or 1.0)
    return source.constant
