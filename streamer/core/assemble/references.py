"""Frame references: time, energy and role of the images of an event, and where their pixels lie.

Pixels come in the event, through the Datum of a Resource, or the StreamDatum of a StreamResource.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..frames import AssetRef, FrameKey, FrameRef, Rejected, Role
from .state import (
    Assembled,
    AssemblerState,
    DatumState,
    EventContext,
    ImageKey,
    Outcome,
    ResourceState,
    StreamState,
    added,
    notify,
    with_run,
)
from .values import (
    LARGEST,
    MalformedDocument,
    integer,
    optional_text,
    pixels,
    section,
    text,
    value_of,
)

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
# NeXus image_key codes, and words for them.
_ROLES: Mapping[Any, Role] = {
    0: Role.SAMPLE,
    1: Role.FLAT,
    2: Role.DARK,
    "sample": Role.SAMPLE,
    "projection": Role.SAMPLE,
    "primary": Role.SAMPLE,
    "flat": Role.FLAT,
    "flat_field": Role.FLAT,
    "reference": Role.FLAT,
    "dark": Role.DARK,
    "dark_field": Role.DARK,
}


def context_of(
    state: AssemblerState,
    stream: StreamState,
    data: Mapping[str, Any],
    seq_num: int,
    time: float | None,
) -> tuple[AssemblerState, EventContext, tuple[Assembled, ...]]:
    """Read the context of the images of one event, with notices on what is missing or guessed."""
    energy, guessed = value_of(stream.energy, data, seq_num - 1)
    energy = state.runs[stream.run].energy if energy is None else energy
    role, out = stream.role, ()
    if state.settings.role_key is not None:
        state, role, out = _keyed_role(state, stream, data, state.settings.role_key)
    context = EventContext(
        time=stream.time if time is None else time,
        energy=energy,
        exposure=value_of(stream.exposure, data, 0)[0],
        role=role or Role.SAMPLE,
    )
    if guessed or energy is None:
        state, more = _energy_notice(state, stream, context)
        out += more
    return state, context, out


def _keyed_role(
    state: AssemblerState, stream: StreamState, data: Mapping[str, Any], key: str
) -> tuple[AssemblerState, Role | None, tuple[Assembled, ...]]:
    """Return the role that the role key tells, that of the stream where there is none."""
    found = [source[key] for source in (data, state.runs[stream.run].start) if key in source]
    if not found:
        return state, stream.role, ()
    code = found[0]
    word = code.strip().lower() if isinstance(code, str) else integer(code)
    role = _ROLES.get(word)
    if role is not None:
        return state, role, ()
    message = (
        f"role key {key!r} has the value {data.get(key)!r:.40}, which is no sample (0), "
        f"flat (1) or dark (2); taking it for {stream.role}"
    )
    state, out = notify(state, stream.run, "role", message)
    return state, stream.role, out


def _energy_notice(state: AssemblerState, stream: StreamState, context: EventContext) -> Outcome:
    """Notify that a unit was guessed, or that sample images come without an energy."""
    key = None if stream.energy is None else stream.energy.key
    if context.energy is not None:
        where = f" of {key!r}" if key else ""
        message = (
            f"the photon energy{where} has no units; read as {context.energy:.6g} eV from its "
            "size, assemble.energy_unit settles it"
        )
        return notify(state, stream.run, "energy_unit", message)
    if context.role is not Role.SAMPLE:
        return state, ()
    why = f": {key!r} holds no positive number" if key else ""
    message = (
        f"images of stream {stream.name!r} have no photon energy{why}; "
        "assemble.energy_key names its key"
    )
    return notify(state, stream.run, "energy", message)


def count_image(state: AssemblerState, key: FrameKey) -> AssemblerState:
    """Count the announced image, or chunk of images, of one event."""
    known = state.runs[key.run]
    seen = added(known.arrived.get(key.stream, ()), key.seq_num)
    arrived = {**known.arrived, key.stream: seen}
    return with_run(state, replace(known, announced=known.announced + 1, arrived=arrived))


def accept(
    state: AssemblerState,
    key: FrameKey,
    context: EventContext,
    image: ImageKey,
    source: NDArray[Any] | AssetRef,
) -> Outcome:
    """Make a frame reference with in-line pixels or an asset."""
    in_line = isinstance(source, np.ndarray)
    ref = FrameRef(
        key=key,
        role=context.role,
        energy=context.energy,
        exposure=context.exposure,
        time=context.time,
        array=source if in_line else None,
        asset=None if in_line else source,
        declared=image.declared,
        chunk=state.settings.chunk,
    )
    return count_image(state, key), (ref,)


def reject(
    state: AssemblerState, key: FrameKey, context: EventContext, reason: str, message: str
) -> Outcome:
    """Count an image that cannot become a frame, with the reason for the ledger."""
    rejected = Rejected(
        key=key,
        role=context.role,
        energy=context.energy,
        time=context.time,
        reason=reason,
        message=message,
    )
    return count_image(state, key), (rejected,)


def unknown_kind(state: AssemblerState, kind: str) -> str:
    """Return the message for a mimetype or spec that no reader knows, "" if one does."""
    if kind in KINDS or kind in state.settings.extra_kinds:
        return ""
    return (
        f"no reader for images of kind {kind[:60]!r}; name one in assets.readers "
        "and the kind in assemble.extra_kinds"
    )


def from_value(
    state: AssemblerState, key: FrameKey, context: EventContext, image: ImageKey, value: Any
) -> Outcome:
    """Make a frame reference of what the event holds: pixels, or the name of a datum."""
    if isinstance(value, str):
        return _from_datum(state, key, context, image, value)
    try:
        array = pixels(value)
    except MalformedDocument as error:
        return reject(state, key, context, "bad_frame", str(error))
    state, out = accept(state, key, context, image, array)
    shape = array.shape[-2:]
    if image.declared is None or image.declared == shape:
        return state, out
    message = (
        f"{key.data_key!r} of stream {key.stream!r} is declared {image.declared} "
        f"but holds images of {shape}; using what it holds"
    )
    state, notices = notify(state, key.run, "shape", message)
    return state, notices + out


def _from_datum(
    state: AssemblerState, key: FrameKey, context: EventContext, image: ImageKey, datum_id: str
) -> Outcome:
    datum = state.datums.get(datum_id)
    if datum is None:
        message = f"datum {datum_id[:80]!r} was never announced (its document was lost)"
        return reject(state, key, context, "missing_datum", message)
    resource = state.resources.get(datum.resource)
    if resource is None:
        message = f"resource {datum.resource[:80]!r} was never announced (its document was lost)"
        return reject(state, key, context, "missing_resource", message)
    unknown = unknown_kind(state, resource.kind)
    if unknown:
        return reject(state, key, context, "unknown_spec", unknown)
    if not resource.run:
        resource = replace(resource, run=key.run)
        state = replace(state, resources={**state.resources, resource.uid: resource})
    try:
        asset = datum_asset(resource, datum, key.seq_num, image.per_event)
    except MalformedDocument as error:
        return reject(state, key, context, "bad_datum", str(error))
    return accept(state, key, context, image, asset)


def resource_state(doc: Mapping[str, Any], run: str) -> ResourceState:
    """Read a Resource or StreamResource document, of the present or of earlier schemas.

    Raises
    ------
    MalformedDocument
        If it has no uid, or no format.
    """
    root = optional_text(doc, "root").rstrip("/")
    path = optional_text(doc, "resource_path") or optional_text(doc, "path")
    if optional_text(doc, "root"):  # a leading slash of the path does not make it absolute
        path = f"{root}/{path.lstrip('/')}"
    return ResourceState(
        uid=text(doc, "uid"),
        run=run,
        kind=optional_text(doc, "mimetype") or text(doc, "spec"),
        uri=optional_text(doc, "uri") or path,
        parameters=section(doc, "parameters") or section(doc, "resource_kwargs"),
        data_key=optional_text(doc, "data_key"),
    )


def frames_per_index(resource: ResourceState, declared: int) -> int:
    """Return the number of images that one index (or point) stands for.

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
    """Read (start, stop) of a ``{"start": , "stop": }`` mapping.

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
    """Read the points that a datum stands for; the event number where it does not say."""
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
    """Refer to the images of the indices `first`..`last` (half-open), `per` images each."""
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
    """Refer to the images that an event names through a datum_id.

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
