"""Descriptor -> `StreamState`: which keys hold the images, the energy and the exposure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..frames import AssetRef, Role
from .energy import KEV_BELOW, Quantity, energy_scale, exposure_scale, positive, scaled_energy
from .keys import (
    ScalarKey,
    configuration,
    hinted,
    image_key,
    is_ambiguous,
    named_image_key,
    rank_energies,
    rank_exposures,
    rank_images,
    scalar_keys,
)
from .settings import AssembleSettings
from .state import DatumState, ImageKey, ResourceState, RunState, StreamState
from .values import (
    LARGEST,
    MalformedDocument,
    integer,
    number,
    optional_text,
    seconds,
    section,
    sequence,
    text,
)

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
Remark = tuple[str, str]  # kind and message of a notice
HDF5_KINDS = frozenset(
    {
        "application/x-hdf5",
        "AD_HDF5",
        "AD_HDF5_SINGLE",
        "AD_HDF5_SWMR",
        "AD_HDF5_SWMR_SLICE",
        "AD_HDF5_SWMR_STREAM",
        "HDF5",
    }
)
SEQUENCE_KINDS = frozenset(
    {
        "AD_TIFF",
        "NPY_SEQ",
        "application/x-npy",
        "image/tiff",
        "multipart/related;type=application/x-npy",
        "multipart/related;type=image/tiff",
    }
)
KINDS = HDF5_KINDS | SEQUENCE_KINDS


def find_image(
    doc: Mapping[str, Any], settings: AssembleSettings
) -> tuple[ImageKey | None, list[Remark]]:
    """Choose the data key of the images of a stream, with what there is to say about it."""
    data_keys = section(doc, "data_keys")
    name = settings.image_key
    if name is not None:
        spec = section(data_keys, name)
        found = named_image_key(name, spec, settings.min_side) if name in data_keys else None
        return found, []
    candidates = [image_key(k, section(data_keys, k), settings.min_side) for k in data_keys]
    ranked = rank_images((c for c in candidates if c is not None), hinted(doc))
    if not ranked:
        return None, []
    if len(ranked) == 1:
        return ranked[0], []
    names = ", ".join(k.name for k in ranked)
    message = (
        f"stream {optional_text(doc, 'name')!r} has several image keys ({names}); "
        f"taking {ranked[0].name!r}, set assemble.image_key to take another"
    )
    return ranked[0], [("image_key", message)]


def _energy_quantity(key: ScalarKey, settings: AssembleSettings) -> Quantity | None:
    """`Quantity` of a scalar of the events or the configuration."""
    units = key.units
    if not isinstance(units, str) and key.name.lower().endswith(("_kev", "_ev")):
        units = key.name.rpartition("_")[2]
    scale = energy_scale(units, settings.energy_unit)
    if key.in_event:
        return Quantity(key=key.name, scale=scale)
    value = positive(key.value)
    if value is None:
        return None
    guessed = scale is None and value < KEV_BELOW
    return Quantity(constant=scaled_energy(value, scale), guessed=guessed)


def _series(start: Mapping[str, Any], settings: AssembleSettings) -> Quantity | None:
    """Energies of all events from the start document."""
    names = (settings.energies_key,) if settings.energies_key else _SERIES
    for name in names:
        values = [positive(v) for v in sequence(start.get(name))]
        if values and all(v is not None for v in values):
            known = [v for v in values if v is not None]
            scale = energy_scale(start.get("energy_units"), settings.energy_unit)
            guessed = scale is None and max(known) < KEV_BELOW
            # One factor for all: a list that crosses 1000 is in eV as a whole.
            if scale is None:
                scale = scaled_energy(max(known), None) / max(known)
            return Quantity(series=tuple(v * scale for v in known), guessed=guessed)
    return None


def _start_energy(start: Mapping[str, Any], settings: AssembleSettings) -> Quantity | None:
    """Energy of the whole run from the start document."""
    units = {settings.energy_key: None} if settings.energy_key else _START_ENERGY
    for name, unit in units.items():
        value = positive(start.get(name))
        if value is not None:
            scale = energy_scale(unit or start.get("energy_units"), settings.energy_unit)
            guessed = scale is None and value < KEV_BELOW
            return Quantity(constant=scaled_energy(value, scale), guessed=guessed)
    return None


def find_energy(
    doc: Mapping[str, Any], run: RunState, role: Role | None, settings: AssembleSettings
) -> tuple[Quantity | None, list[Remark]]:
    """Choose where the energy of a stream comes from: events, configuration, start document."""
    preferred = hinted(doc) | {m for m in sequence(run.start.get("motors")) if isinstance(m, str)}
    for keys in (scalar_keys(section(doc, "data_keys")), configuration(doc)):
        if settings.energy_key is not None:
            ranked = [k for k in keys if k.name == settings.energy_key]
        else:
            ranked = rank_energies(keys, preferred)
        for key in ranked:
            quantity = _energy_quantity(key, settings)
            if quantity is not None:
                return quantity, _energy_remarks(key, ranked, preferred, settings)
    series = _series(run.start, settings) if role is Role.SAMPLE else None
    return series or _start_energy(run.start, settings), []


def _energy_remarks(
    key: ScalarKey, ranked: list[ScalarKey], preferred: frozenset[str], settings: AssembleSettings
) -> list[Remark]:
    """Say so if another key would have been as good."""
    if settings.energy_key is not None or not is_ambiguous(ranked, preferred):
        return []
    names = ", ".join(k.name for k in ranked)
    return [
        (
            "energy_key",
            f"several keys may be the photon energy ({names}); taking {key.name!r}, "
            "set assemble.energy_key to take another",
        )
    ]


def find_exposure(
    doc: Mapping[str, Any], run: RunState, image: ImageKey | None, settings: AssembleSettings
) -> Quantity | None:
    """Choose where the exposure comes from: events, configuration, start document."""
    data_keys = section(doc, "data_keys")
    device = optional_text(section(data_keys, image.name), "object_name") if image else ""
    for keys in (scalar_keys(data_keys), configuration(doc)):
        if settings.exposure_key is not None:
            ranked = [k for k in keys if k.name == settings.exposure_key]
        else:
            ranked = rank_exposures(keys, device)
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


def _summary(doc: Mapping[str, Any]) -> str:
    """Return the keys of a stream with their shapes in a few words."""
    words = []
    for name, spec in section(doc, "data_keys").items():
        spec = spec if isinstance(spec, Mapping) else {}
        shape = [d for d in sequence(spec.get("shape")) if number(d) is not None][:4]
        words.append(f"{name} {shape}" if shape else name)
    extra = f" and {len(words) - 4} more" if len(words) > 4 else ""
    return ", ".join(w[:60] for w in words[:4]) + extra


def stream_state(
    doc: Mapping[str, Any], run: RunState, settings: AssembleSettings
) -> tuple[StreamState, list[Remark]]:
    """State of a new stream and what there is to say about the choice of its keys.

    Raises
    ------
    MalformedDocument
        If the descriptor has no uid.
    """
    name = optional_text(doc, "name") or "primary"  # before bluesky 1.0 streams had no name
    role = settings.streams.role_of(name)
    image, remarks = find_image(doc, settings)
    energy, more = find_energy(doc, run, role, settings)
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
        exposure=find_exposure(doc, run, image, settings),
        summary=_summary(doc),
    )
    return stream, remarks if role is not None else []


# Resource/Datum and StreamResource documents -> `AssetRef`: which images of which file.


def resource_state(doc: Mapping[str, Any], run: str) -> ResourceState:
    """Read a Resource or StreamResource document, of the present or of earlier schemas.

    Raises
    ------
    MalformedDocument
        If it has no uid, no format, or no place.
    """
    kind = optional_text(doc, "mimetype") or text(doc, "spec")
    uri = optional_text(doc, "uri") or _joined(
        optional_text(doc, "root"),
        optional_text(doc, "resource_path") or optional_text(doc, "path"),
    )
    parameters = section(doc, "parameters") or section(doc, "resource_kwargs")
    return ResourceState(
        uid=text(doc, "uid"),
        run=run,
        kind=kind,
        uri=uri,
        parameters=parameters,
        data_key=optional_text(doc, "data_key"),
    )


def _joined(root: str, path: str) -> str:
    """Join root and resource_path: a leading slash of the latter does not make it absolute."""
    return f"{root.rstrip('/')}/{path.lstrip('/')}" if root else path


def frames_per_index(resource: ResourceState, declared: int) -> int:
    """Images that one index (or point) stands for.

    ``frame_per_point`` (ophyd) and ``multiplier`` (early StreamResource) repeat what the
    descriptor should declare, and are right where it lies.
    """
    for name in ("frame_per_point", "multiplier"):
        value = integer(resource.parameters.get(name))
        if value is not None and 1 <= value < LARGEST and (name != "multiplier" or declared == 1):
            return value
    return declared


def _index(value: Any, name: str) -> int:
    index = integer(value)
    if index is None or not 0 <= index < LARGEST:
        raise MalformedDocument(f"{name} should be a count from 0, got {str(value)[:40]!r}")
    return index


def index_range(value: Any, name: str) -> tuple[int, int]:
    """(start, stop) of a ``{"start": , "stop": }`` mapping.

    Raises
    ------
    MalformedDocument
        If it is none, or runs backwards.
    """
    if not isinstance(value, Mapping):
        raise MalformedDocument(f"{name} should be {{start, stop}}, got {type(value).__name__}")
    start, stop = _index(value.get("start"), name), _index(value.get("stop"), name)
    if stop < start:
        raise MalformedDocument(f"{name} runs backwards, from {start} to {stop}")
    return start, stop


def _datum_range(kwargs: Mapping[str, Any], seq_num: int) -> tuple[int, int]:
    """Points that a datum stands for; the event number where it does not say."""
    if "indices" in kwargs:
        return index_range(kwargs["indices"], "datum_kwargs.indices")
    for name in ("point_number", "frame", "index"):
        if name in kwargs:
            start = _index(kwargs[name], f"datum_kwargs.{name}")
            return start, start + 1
    return _index(seq_num - 1, "seq_num - 1"), seq_num


def asset(
    resource: ResourceState, first: int, last: int, per: int, extra: Mapping[str, Any] | None = None
) -> AssetRef:
    """Images of the indices `first`..`last` (half-open), `per` images each."""
    parameters = {**resource.parameters, **(extra or {}), "frames_per_index": per}
    return AssetRef(
        kind=resource.kind,
        uri=resource.uri,
        parameters=parameters,
        start=first * per,
        stop=last * per,
        run=resource.run,
        resource=resource.uid,
    )


def datum_asset(
    resource: ResourceState, datum: DatumState, seq_num: int, declared: int
) -> AssetRef:
    """Images that an event names through a datum_id.

    Raises
    ------
    MalformedDocument
        If the datum's numbers cannot be indices.
    """
    first, last = _datum_range(datum.kwargs, seq_num)
    # A file of an NPY_SEQ holds whatever one event brought: files are counted, not images.
    per = 1 if resource.kind == "NPY_SEQ" else frames_per_index(resource, declared)
    kept = {k: v for k, v in datum.kwargs.items() if k in ("dataset", "path", "filename")}
    return asset(resource, first, last, per, kept)
