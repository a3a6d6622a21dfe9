"""Frame references out of events: what an event says about its images, and the images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..frames import AssetRef, FrameKey, FrameRef, Rejected, Role
from .arrivals import added
from .descriptors import KINDS, datum_asset
from .energy import energy_of, exposure_of, was_guessed
from .state import Assembled, AssemblerState, EventContext, ImageKey, StreamState, notify, with_run
from .values import MalformedDocument, integer, pixels

_CODES: Mapping[Any, Role] = {0: Role.SAMPLE, 1: Role.FLAT, 2: Role.DARK}

_WORDS: Mapping[str, Role] = {
    "sample": Role.SAMPLE,
    "projection": Role.SAMPLE,
    "primary": Role.SAMPLE,
    "flat": Role.FLAT,
    "flat_field": Role.FLAT,
    "reference": Role.FLAT,
    "dark": Role.DARK,
    "dark_field": Role.DARK,
}

Outcome = tuple[AssemblerState, tuple[Assembled, ...]]


def key_of(stream: StreamState, image: ImageKey, seq_num: int) -> FrameKey:
    """Address of the first image of an event."""
    return FrameKey(run=stream.run, stream=stream.name, data_key=image.name, seq_num=seq_num)


def role_from(code: Any) -> Role | None:
    """Role that a NeXus `image_key` code (0, 1, 2) or a word stands for; None for anything else."""
    if isinstance(code, str):
        return _WORDS.get(code.strip().lower())
    whole = integer(code)
    return None if whole is None else _CODES.get(whole)


def _role(state: AssemblerState, stream: StreamState, data: Mapping[str, Any]) -> Role | None:
    """Role of the images of one event: of the role key where there is one, else of the stream."""
    name = state.settings.role_key
    if name is None:
        return stream.role
    for source in (data, state.runs[stream.run].start):
        if name in source:
            return role_from(source[name])
    return stream.role


def context_of(
    state: AssemblerState,
    stream: StreamState,
    data: Mapping[str, Any],
    seq_num: int,
    time: float | None,
) -> tuple[AssemblerState, EventContext, tuple[Assembled, ...]]:
    """What one event says about its images, with the notices that it gives cause to."""
    run = state.runs[stream.run]
    energy = energy_of(stream.energy, data, seq_num - 1)
    energy = run.energy if energy is None else energy
    role = _role(state, stream, data)
    out: tuple[Assembled, ...] = ()
    if role is None:
        code = repr(data.get(state.settings.role_key or ""))[:40]
        state, out = notify(
            state,
            stream.run,
            "role",
            f"role key {state.settings.role_key!r} has the value {code}, which is no sample (0), "
            f"flat (1) or dark (2); taking it for {stream.role}",
        )
    context = EventContext(
        time=stream.time if time is None else time,
        energy=energy,
        exposure=exposure_of(stream.exposure, data),
        role=role or stream.role or Role.SAMPLE,
    )
    state, more = _energy_notices(state, stream, context, data)
    return state, context, out + more


def _energy_notices(
    state: AssemblerState, stream: StreamState, context: EventContext, data: Mapping[str, Any]
) -> Outcome:
    """Say that a unit was guessed, or that sample images come without an energy."""
    source = stream.energy
    if context.energy is None:
        if context.role is not Role.SAMPLE:
            return state, ()
        why = f": {source.key!r} holds no positive number" if source and source.key else ""
        return notify(
            state,
            stream.run,
            "energy",
            f"images of stream {stream.name!r} have no photon energy{why}; "
            "assemble.energy_key names its key",
        )
    if source is None or not was_guessed(source, data):
        return state, ()
    where = f" of {source.key!r}" if source.key else ""
    return notify(
        state,
        stream.run,
        "energy_unit",
        f"the photon energy{where} has no units; read as {context.energy:.6g} eV from its size, "
        "assemble.energy_unit settles it",
    )


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
    """Frame reference with in-line pixels or an asset."""
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


def unknown_kind(kind: str) -> str:
    """Message for a format that no reader knows."""
    return (
        f"no reader for images of kind {kind[:60]!r}; name one in assets.readers "
        "and the kind in assemble.extra_kinds"
    )


def knows_kind(state: AssemblerState, kind: str) -> bool:
    """Whether a reader is known for a mimetype or spec."""
    return kind in KINDS or kind in state.settings.extra_kinds


def from_value(
    state: AssemblerState, key: FrameKey, context: EventContext, image: ImageKey, value: Any
) -> Outcome:
    """Frame reference from what the event holds: pixels, or the name of a datum."""
    if isinstance(value, str):
        return _from_datum(state, key, context, image, value)
    try:
        array = pixels(value)
    except MalformedDocument as error:
        return reject(state, key, context, "bad_frame", str(error))
    state, out = accept(state, key, context, image, array)
    state, said = _shape_notice(state, key, image, array.shape[-2:])
    return state, said + out


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
    if not knows_kind(state, resource.kind):
        return reject(state, key, context, "unknown_spec", unknown_kind(resource.kind))
    if not resource.run:
        resource = replace(resource, run=key.run)
        state = replace(state, resources={**state.resources, resource.uid: resource})
    try:
        asset = datum_asset(resource, datum, key.seq_num, image.per_event)
    except MalformedDocument as error:
        return reject(state, key, context, "bad_datum", str(error))
    return accept(state, key, context, image, asset)


def _shape_notice(
    state: AssemblerState, key: FrameKey, image: ImageKey, actual: tuple[int, ...]
) -> Outcome:
    """Say once that the pixels have another shape than the descriptor declares."""
    if image.declared is None or image.declared == tuple(actual):
        return state, ()
    return notify(
        state,
        key.run,
        "shape",
        f"{key.data_key!r} of stream {key.stream!r} is declared {image.declared} "
        f"but holds images of {tuple(actual)}; using what it holds",
    )
