"""Descriptor -> `StreamState`: which keys hold the images, the energy and the exposure.

Settings win; else names, units, shapes and hints decide. Every choice is deterministic: the same
descriptor gives the same keys in whatever order its keys come.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..frames import Role
from .settings import AssembleSettings
from .state import ImageKey, RunState, StreamState
from .values import (
    KEV_BELOW,
    Quantity,
    energy_scale,
    exposure_scale,
    integer,
    is_energy_unit,
    number,
    optional_text,
    positive,
    scaled_energy,
    seconds,
    section,
    sequence,
    text,
)

Remark = tuple[str, str]
"""Kind and message of a notice."""

# Names under which documents hold energies and exposures: those of FXI (XEng, eng_list), of ophyd
# and NeXus, others by eye.
_ENERGY_EXACT = frozenset(
    {"energy", "xeng", "eng", "mono", "photon_energy", "mono_energy", "dcm_energy", "en"}
)
_ENERGY_TAIL = re.compile(r"(^|[_\-.])(energy|x?eng|mono)([_\-.](readback|rbv|user_readback))?$")
_ENERGY_TAIL_KEV = re.compile(r"(^|[_\-.])(energy|x?eng|mono)_k?ev$")
_SETPOINT = re.compile(r"(set_?point|_sp|_set|_target|_demand)$")
_EXPOSURE = re.compile(r"(^|[_\-.])(acquire_time|exposure(_time)?|exposure_s|count_time)$")
_SERIES = ("eng_list", "energies", "energy_list")
_START_ENERGY = {
    "energy": None,
    "photon_energy": None,
    "XEng": None,
    "eng": None,
    "energy_ev": "eV",
    "energy_kev": "keV",
}
_START_EXPOSURE = ("exposure_time", "exposure", "acquire_time")


def stream_state(
    doc: Mapping[str, Any], run: RunState, settings: AssembleSettings
) -> tuple[StreamState, list[Remark]]:
    """Read a descriptor: the state of its stream, with remarks on the choice of its keys.

    Raises
    ------
    MalformedDocument
        If the descriptor has no uid.
    """
    name = optional_text(doc, "name") or "primary"  # before bluesky 1.0 streams had no name
    role = settings.streams.role_of(name)
    image, remarks = _find_image(doc, settings)
    energy, more = _find_energy(doc, run, role, settings)
    if role is not None and image is not None:
        remarks += more
    time = seconds(doc.get("time"))
    stream = StreamState(
        uid=text(doc, "uid"),
        run=run.uid,
        name=name,
        role=role,
        time=run.time if time is None else time,
        image=image,
        energy=energy,
        exposure=_find_exposure(doc, run, image, settings),
        summary=_summary(doc),
    )
    return stream, remarks if role is not None else []


def _summary(doc: Mapping[str, Any]) -> str:
    """Return the keys of a stream with their shapes in a few words."""
    words = []
    for name, spec in section(doc, "data_keys").items():
        spec = spec if isinstance(spec, Mapping) else {}
        shape = [d for d in sequence(spec.get("shape")) if number(d) is not None][:4]
        words.append(f"{name} {shape}" if shape else name)
    extra = f" and {len(words) - 4} more" if len(words) > 4 else ""
    return ", ".join(w[:60] for w in words[:4]) + extra


def _find_image(
    doc: Mapping[str, Any], settings: AssembleSettings
) -> tuple[ImageKey | None, list[Remark]]:
    """Choose the data key of the images of a stream, with remarks on the choice."""
    data_keys, preferred = section(doc, "data_keys"), _hinted(doc)
    found = {k: _image_key(k, section(data_keys, k), settings.min_side) for k in data_keys}
    name = settings.image_key
    if name is not None:
        if name not in data_keys:
            return None, []
        streamed = _is_streamed(section(data_keys, name))
        plain = ImageKey(name=name, declared=None, per_event=1, streamed=streamed)
        return found[name] or plain, []

    def order(key: ImageKey) -> tuple[bool, int, str]:
        """Sort hinted keys first, then larger images, then by name."""
        area = key.declared[0] * key.declared[1] if key.declared else 0
        return key.name not in preferred, -area, key.name

    ranked = sorted((key for key in found.values() if key is not None), key=order)
    if len(ranked) < 2:
        return (ranked[0] if ranked else None), []
    names = ", ".join(k.name for k in ranked)
    message = (
        f"stream {optional_text(doc, 'name')!r} has several image keys ({names}); "
        f"taking {ranked[0].name!r}, set assemble.image_key to take another"
    )
    return ranked[0], [("image_key", message)]


def _energy_quantity(key: _ScalarKey, settings: AssembleSettings) -> Quantity | None:
    """Return the source of the energy for a scalar of the events or the configuration."""
    units = key.units
    if not isinstance(units, str) and key.name.lower().endswith(("_kev", "_ev")):
        units = key.name.rpartition("_")[2]
    scale = energy_scale(units, settings.energy_unit)
    if key.in_event:
        return Quantity(key=key.name, scale=scale)
    value = positive(key.value)
    return None if value is None else _constant_energy(value, scale)


def _constant_energy(value: float, scale: float | None) -> Quantity:
    guessed = scale is None and value < KEV_BELOW
    return Quantity(constant=scaled_energy(value, scale), guessed=guessed)


def _series(start: Mapping[str, Any], settings: AssembleSettings) -> Quantity | None:
    """Read the energies of all events from the start document."""
    names = (settings.energies_key,) if settings.energies_key else _SERIES
    for name in names:
        values = sequence(start.get(name))
        known = [energy for value in values if (energy := positive(value)) is not None]
        if known and len(known) == len(values):
            scale = energy_scale(start.get("energy_units"), settings.energy_unit)
            guessed = scale is None and max(known) < KEV_BELOW
            # One factor for all: a list that crosses 1000 is in eV as a whole.
            if scale is None:
                scale = scaled_energy(max(known), None) / max(known)
            return Quantity(series=tuple(v * scale for v in known), guessed=guessed)
    return None


def _start_energy(start: Mapping[str, Any], settings: AssembleSettings) -> Quantity | None:
    """Read the energy of the whole run from the start document."""
    units = {settings.energy_key: None} if settings.energy_key else _START_ENERGY
    for name, unit in units.items():
        value = positive(start.get(name))
        if value is not None:
            scale = energy_scale(unit or start.get("energy_units"), settings.energy_unit)
            return _constant_energy(value, scale)
    return None


def _find_energy(
    doc: Mapping[str, Any], run: RunState, role: Role | None, settings: AssembleSettings
) -> tuple[Quantity | None, list[Remark]]:
    """Choose where the energy of a stream comes from: events, configuration, start document."""
    preferred = _hinted(doc) | {m for m in sequence(run.start.get("motors")) if isinstance(m, str)}
    for keys in (_scalar_keys(section(doc, "data_keys")), _configuration(doc)):
        if settings.energy_key is not None:
            ranked = [k for k in keys if k.name == settings.energy_key]
        else:
            ranked = _rank_energies(keys, preferred)
        for key in ranked:
            quantity = _energy_quantity(key, settings)
            if quantity is not None:
                return quantity, _energy_remarks(key, ranked, preferred, settings)
    series = _series(run.start, settings) if role is Role.SAMPLE else None
    return series or _start_energy(run.start, settings), []


def _energy_remarks(
    key: _ScalarKey, ranked: list[_ScalarKey], preferred: frozenset[str], settings: AssembleSettings
) -> list[Remark]:
    """Remark on the choice where the best two candidates differ in their names only."""
    ranks = [_energy_rank(k, preferred) for k in ranked[:2]]
    if settings.energy_key is not None or len(ranks) < 2 or ranks[0] is None:
        return []
    if ranks[0][:2] != (ranks[1] or ())[:2]:
        return []
    names = ", ".join(k.name for k in ranked)
    message = (
        f"several keys may be the photon energy ({names}); taking {key.name!r}, "
        "set assemble.energy_key to take another"
    )
    return [("energy_key", message)]


def _find_exposure(
    doc: Mapping[str, Any], run: RunState, image: ImageKey | None, settings: AssembleSettings
) -> Quantity | None:
    """Choose where the exposure comes from: events, configuration, start document."""
    data_keys = section(doc, "data_keys")
    device = optional_text(section(data_keys, image.name), "object_name") if image else ""
    for keys in (_scalar_keys(data_keys), _configuration(doc)):
        if settings.exposure_key is not None:
            ranked = [k for k in keys if k.name == settings.exposure_key]
        else:  # that of the camera itself before others, then by name
            hits = [k for k in keys if _EXPOSURE.search(k.name.lower())]
            ranked = sorted(
                hits, key=lambda k: (not (device and k.name.startswith(device)), k.name)
            )
        for key in ranked:
            scale = exposure_scale(key.units)
            if key.in_event:
                return Quantity(key=key.name, scale=scale)
            value = positive(key.value)
            if value is not None:
                return Quantity(constant=value * scale)
    names = (settings.exposure_key,) if settings.exposure_key else _START_EXPOSURE
    values = (positive(run.start.get(n)) for n in names)
    value = next((v for v in values if v is not None), None)
    return None if value is None else Quantity(constant=value)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ScalarKey:
    """A scalar of a descriptor with its units, and its value if it is configuration."""

    name: str
    units: Any
    value: Any = None
    in_event: bool


def _dimensions(spec: Mapping[str, Any]) -> tuple[int | None, ...]:
    """Return the declared shape; None is a length that is unknown, negative or zero."""
    dims = (integer(d) for d in sequence(spec.get("shape")))
    return tuple(d if d is not None and d > 0 else None for d in dims)


def _declared(
    dims: tuple[int | None, ...], min_side: int
) -> tuple[tuple[int, int] | None, int] | None:
    """Read ((H, W), images per event) from a shape; None if it is no image."""
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


def _image_key(name: str, spec: Mapping[str, Any], min_side: int) -> ImageKey | None:
    """Return the `ImageKey` of a data key, None if it does not look like an image."""
    external = optional_text(spec, "external")
    if optional_text(spec, "dtype") not in ("array", "") and not external:
        return None
    found = _declared(_dimensions(spec), min_side)
    if found is None:
        return None
    declared, per_event = found
    if declared is None and not external:
        return None
    streamed = _is_streamed(spec)
    return ImageKey(name=name, declared=declared, per_event=per_event, streamed=streamed)


def _is_streamed(spec: Mapping[str, Any]) -> bool:
    return optional_text(spec, "external").upper().startswith("STREAM")


def _hinted(descriptor: Mapping[str, Any]) -> frozenset[str]:
    """Return the data keys that the descriptor's hints name."""
    fields: list[str] = []
    for hint in section(descriptor, "hints").values():
        if isinstance(hint, Mapping):
            fields += [f for f in sequence(hint.get("fields")) if isinstance(f, str)]
    return frozenset(fields)


def _scalar_keys(
    data_keys: Mapping[str, Any], values: Mapping[str, Any] | None = None
) -> list[_ScalarKey]:
    """List scalars of the event data (`values` None) or of one object's configuration."""
    found = []
    for name, spec in data_keys.items():
        spec = spec if isinstance(spec, Mapping) else {}
        dims = _dimensions(spec)
        if dims not in ((), (1,)) or optional_text(spec, "dtype") in ("string", "array"):
            continue
        value = None if values is None else values.get(name)
        found.append(
            _ScalarKey(name=name, units=spec.get("units"), value=value, in_event=values is None)
        )
    return found


def _configuration(descriptor: Mapping[str, Any]) -> list[_ScalarKey]:
    """List scalars of all configurations of a descriptor."""
    found = []
    for device in section(descriptor, "configuration").values():
        if isinstance(device, Mapping):
            found += _scalar_keys(section(device, "data_keys"), section(device, "data"))
    return found


def _energy_rank(key: _ScalarKey, preferred: frozenset[str]) -> tuple[int, bool, str] | None:
    """Return the sort key of a candidate for the energy, None if it is none."""
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


def _rank_energies(found: Iterable[_ScalarKey], preferred: frozenset[str]) -> list[_ScalarKey]:
    """Sort candidates for the photon energy, best first."""
    ranked = [(r, k) for k in found if (r := _energy_rank(k, preferred)) is not None]
    return [key for _, key in sorted(ranked, key=lambda pair: pair[0])]
