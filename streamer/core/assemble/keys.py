"""Finds the keys of images, energies and exposures in a descriptor.

Settings win; else names, units, shapes and hints decide. Every choice is deterministic: the same
descriptor gives the same keys in whatever order its keys come.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .energy import is_energy_unit
from .state import ImageKey
from .values import integer, optional_text, section, sequence

_ENERGY_EXACT = frozenset(
    {"energy", "xeng", "eng", "mono", "photon_energy", "mono_energy", "dcm_energy", "en"}
)

_ENERGY_TAIL = re.compile(r"(^|[_\-.])(energy|x?eng|mono)([_\-.](readback|rbv|user_readback))?$")

_ENERGY_TAIL_KEV = re.compile(r"(^|[_\-.])(energy|x?eng|mono)_k?ev$")

_SETPOINT = re.compile(r"(set_?point|_sp|_set|_target|_demand)$")

_EXPOSURE = re.compile(r"(^|[_\-.])(acquire_time|exposure(_time)?|exposure_s|count_time)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalarKey:
    """A scalar found in a descriptor: where, its units, and its value if it is configuration."""

    name: str
    units: Any
    value: Any = None
    in_event: bool


def _dimensions(spec: Mapping[str, Any]) -> tuple[int | None, ...]:
    """Return the declared shape; None stands for a length that is unknown, negative or zero."""
    dims = (integer(d) for d in sequence(spec.get("shape")))
    return tuple(d if d is not None and d > 0 else None for d in dims)


def _declared(
    dims: tuple[int | None, ...], min_side: int
) -> tuple[tuple[int, int] | None, int] | None:
    """((H, W), images per event) of a shape; None if it is no image."""
    if len(dims) == 4 and dims[0] in (1, None):
        dims = dims[1:]
    if len(dims) not in (2, 3):
        return None
    height, width = dims[-2:]
    if height is None or width is None:
        return None, (dims[0] or 1) if len(dims) == 3 else 1
    if height >= min_side and width >= min_side:
        return (height, width), (dims[0] or 1) if len(dims) == 3 else 1
    # Older area detectors declare (H, W, n) instead of (n, H, W).
    first = dims[0]
    if len(dims) == 3 and first is not None and min(first, height) >= min_side:
        return (first, height), width
    return None


def image_key(name: str, spec: Mapping[str, Any], min_side: int) -> ImageKey | None:
    """`ImageKey` of one data key, None if it does not look like an image."""
    external = optional_text(spec, "external")
    if optional_text(spec, "dtype") not in ("array", "") and not external:
        return None
    found = _declared(_dimensions(spec), min_side)
    if found is None:
        return None
    declared, per_event = found
    if declared is None and not external:
        return None
    return ImageKey(
        name=name,
        declared=declared,
        per_event=per_event,
        streamed=external.upper().startswith("STREAM"),
    )


def named_image_key(name: str, spec: Mapping[str, Any], min_side: int) -> ImageKey:
    """`ImageKey` of the data key that the settings name, whatever its shape."""
    streamed = optional_text(spec, "external").upper().startswith("STREAM")
    return image_key(name, spec, min_side) or ImageKey(
        name=name, declared=None, per_event=1, streamed=streamed
    )


def hinted(descriptor: Mapping[str, Any]) -> frozenset[str]:
    """Return the data keys that the descriptor's hints name."""
    fields: list[str] = []
    for hint in section(descriptor, "hints").values():
        if isinstance(hint, Mapping):
            fields += [f for f in sequence(hint.get("fields")) if isinstance(f, str)]
    return frozenset(fields)


def rank_images(found: Iterable[ImageKey], preferred: frozenset[str]) -> list[ImageKey]:
    """Candidates, best first: hinted, then larger, then by name."""

    def order(key: ImageKey) -> tuple[bool, int, str]:
        area = key.declared[0] * key.declared[1] if key.declared else 0
        return key.name not in preferred, -area, key.name

    return sorted(found, key=order)


def scalar_keys(
    data_keys: Mapping[str, Any], values: Mapping[str, Any] | None = None
) -> list[ScalarKey]:
    """Scalars of the event data (`values` None) or of one object's configuration."""
    found = []
    for name, spec in data_keys.items():
        spec = spec if isinstance(spec, Mapping) else {}
        dims = _dimensions(spec)
        if dims not in ((), (1,)) or optional_text(spec, "dtype") in ("string", "array"):
            continue
        value = None if values is None else values.get(name)
        found.append(
            ScalarKey(name=name, units=spec.get("units"), value=value, in_event=values is None)
        )
    return found


def configuration(descriptor: Mapping[str, Any]) -> list[ScalarKey]:
    """Scalars of all configurations of a descriptor."""
    found = []
    for device in section(descriptor, "configuration").values():
        if isinstance(device, Mapping):
            found += scalar_keys(section(device, "data_keys"), section(device, "data"))
    return found


def _energy_rank(key: ScalarKey, preferred: frozenset[str]) -> tuple[int, bool, str] | None:
    """Sort key of a candidate for the energy, None if it is none."""
    name = key.name.lower()
    unit = is_energy_unit(key.units)
    other_unit = isinstance(key.units, str) and key.units.strip() != "" and not unit
    setpoint = _SETPOINT.search(name) is not None
    stem = _SETPOINT.sub("", name).rstrip("_")
    if other_unit:
        return None
    if stem in _ENERGY_EXACT:
        rank = 0
    elif _ENERGY_TAIL.search(stem) or _ENERGY_TAIL_KEV.search(stem):
        rank = 1
    elif unit:
        rank = 2
    else:
        return None
    return rank + 10 * setpoint + (0 if unit else 3), key.name not in preferred, key.name


def rank_energies(found: Iterable[ScalarKey], preferred: frozenset[str]) -> list[ScalarKey]:
    """Candidates for the photon energy, best first."""
    ranked = [(r, k) for k in found if (r := _energy_rank(k, preferred)) is not None]
    return [key for _, key in sorted(ranked, key=lambda pair: pair[0])]


def rank_exposures(found: Iterable[ScalarKey], device: str) -> list[ScalarKey]:
    """Candidates for the exposure time, best first: of the camera itself, then by name."""
    hits = [k for k in found if _EXPOSURE.search(k.name.lower())]
    return sorted(hits, key=lambda k: (not (device and k.name.startswith(device)), k.name))


def is_ambiguous(ranked: list[ScalarKey], preferred: frozenset[str]) -> bool:
    """Whether the best two candidates for the energy are equally good but for their names."""
    ranks = [_energy_rank(k, preferred) for k in ranked[:2]]
    return len(ranks) == 2 and ranks[0] is not None and ranks[0][:2] == (ranks[1] or ())[:2]
