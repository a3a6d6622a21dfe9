"""StreamDatum documents: frames that wait for the event that tells their energy and time.

In a step scan the stream_datum of a point comes just before its event, in a fly scan no event ever
comes; the documents do not say which it is. So frames wait until their event comes, until a later
event or datum shows that it will not, or until the run stops.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from .announce import Outcome, accept, context_of, key_of, knows_kind, reject, unknown_kind
from .arrivals import LARGEST_SEQ_NUM, contains
from .descriptors import asset, frames_per_index, index_range
from .state import (
    Assembled,
    AssemblerState,
    EventContext,
    ImageKey,
    PendingImages,
    ResourceState,
    StreamState,
    notify,
    with_stream,
)
from .values import MalformedDocument, text

_CONTEXTS_KEPT = 256

_FALLBACK_PERIOD = 1.0


def on_stream_datum(state: AssemblerState, doc: Mapping[str, Any]) -> Outcome:
    """One stream_datum: frame references, at once or held for their events."""
    descriptor, uid = text(doc, "descriptor"), text(doc, "stream_resource")
    stream = state.streams.get(descriptor)
    if stream is None:
        message = f"stream_datum of descriptor {descriptor[:80]!r}, which was never seen, left out"
        return notify(state, "", "orphan", message, descriptor)
    resource = state.resources.get(uid)
    if resource is None:
        message = f"stream_datum of stream_resource {uid[:80]!r}, which was never seen, left out"
        return notify(state, stream.run, "orphan", message, uid)
    image = stream.image
    if stream.role is None or image is None or resource.data_key not in ("", image.name):
        return state, ()
    if not resource.run:
        resource = replace(resource, run=stream.run)
        state = replace(state, resources={**state.resources, uid: resource})
    indices = index_range(doc.get("indices"), "indices")
    number = index_range(doc.get("seq_nums"), "seq_nums")[0]
    if not 1 <= number <= LARGEST_SEQ_NUM:
        raise MalformedDocument(f"seq_nums should count from 1, got {number}")
    refusal = _refusal(state, resource, indices[1] - indices[0])
    if refusal:
        state, context, out = context_of(state, stream, {}, number, None)
        state, more = reject(state, key_of(stream, image, number), context, *refusal)
        return state, out + more
    per = frames_per_index(resource, image.per_event)
    stream = _numbered(stream, uid, number, indices[1] - indices[0])
    number += stream.carry
    held = tuple(
        PendingImages(seq_num=number + i, asset=asset(resource, first, first + 1, per))
        for i, first in enumerate(range(*indices))
    )
    return _place(state, stream, held)


def _numbered(stream: StreamState, resource: str, number: int, count: int) -> StreamState:
    """Count on where the next file of a fly scan counts from 1 again: addresses must not repeat."""
    carry = stream.carry
    if resource != stream.resource:
        again = number <= stream.last_number and stream.delivery != "events"
        carry = stream.last_number if again else 0
    last = max(stream.last_number, number + carry + count - 1)
    return replace(stream, resource=resource, carry=carry, last_number=last)


def _refusal(state: AssemblerState, resource: ResourceState, count: int) -> tuple[str, str] | None:
    """Reason and message if these images cannot be had."""
    if not knows_kind(state, resource.kind):
        return "unknown_spec", unknown_kind(resource.kind)
    if count > state.settings.max_datum_frames:
        most = state.settings.max_datum_frames
        return (
            "bad_datum",
            f"one stream_datum announces {count} events; assemble.max_datum_frames is {most}",
        )
    return None


def _place(state: AssemblerState, stream: StreamState, new: tuple[PendingImages, ...]) -> Outcome:
    """Release frames whose event is known or will not come, and hold the others."""
    out: tuple[Assembled, ...] = ()
    if _shows_flight(stream, new):
        stream = replace(stream, delivery="fly")
        state, out = _release_all(with_stream(state, stream), stream, stream.held)
        stream = replace(stream, held=())
    if stream.delivery == "fly":
        state, more = _release_all(with_stream(state, stream), stream, new)
        return state, out + more
    ready = [h for h in new if h.seq_num in stream.contexts]
    held = stream.held + tuple(h for h in new if h.seq_num not in stream.contexts)
    contexts, numbers = stream.contexts, {h.seq_num for h in ready}
    overflow = held[: max(0, len(held) - state.settings.max_held)]
    stream = replace(
        stream,
        held=held[len(overflow) :],
        contexts={k: v for k, v in contexts.items() if k not in numbers},
    )
    state = with_stream(state, stream)
    for item in ready:
        state, more = _release(state, stream, item, contexts[item.seq_num])
        out += more
    state, more = _release_all(state, stream, overflow)
    return state, out + more


def _shows_flight(stream: StreamState, new: tuple[PendingImages, ...]) -> bool:
    """Whether a later datum came where the event of an earlier one should have come first.

    Where the energy is in the events it is worth waiting longer: a recording may hold all
    stream_datum documents before all events.
    """
    waits_for_energy = stream.energy is not None and stream.energy.key is not None
    return (
        stream.delivery == "unknown"
        and not waits_for_energy
        and bool(stream.held)
        and bool(new)
        and new[0].seq_num > stream.held[-1].seq_num
    )


def _release(
    state: AssemblerState, stream: StreamState, item: PendingImages, context: EventContext
) -> Outcome:
    image = stream.image or ImageKey(name="", declared=None, per_event=1, streamed=True)
    return accept(state, key_of(stream, image, item.seq_num), context, image, item.asset)


def _release_all(
    state: AssemblerState, stream: StreamState, items: Iterable[PendingImages]
) -> Outcome:
    """Release frames without an event: their times are counted from the descriptor's."""
    out: list[Assembled] = []
    for item in items:
        state, context, said = context_of(state, stream, {}, item.seq_num, None)
        period = state.settings.fly_period or context.exposure or _FALLBACK_PERIOD
        context = replace(context, time=stream.time + (item.seq_num - 1) * period)
        out += said
        state, said = notify(
            state,
            stream.run,
            "time",
            f"frames of stream {stream.name!r} come without events; their times are counted from "
            f"its descriptor, {period:g} s per frame (assemble.fly_period)",
            stream.name,
        )
        out += said
        state, said = _release(state, stream, item, context)
        out += said
    return state, tuple(out)


def event_arrived(
    state: AssemblerState, stream: StreamState, seq_num: int, context: EventContext
) -> Outcome:
    """Release the frames of an event; those of earlier events, which were lost, go before."""
    earlier = [h for h in stream.held if h.seq_num < seq_num]
    match = [h for h in stream.held if h.seq_num == seq_num]
    contexts = dict(stream.contexts)
    if not match:
        contexts[seq_num] = context
        if len(contexts) > _CONTEXTS_KEPT:
            contexts.pop(min(contexts))
    stream = replace(
        stream,
        delivery="events",
        held=tuple(h for h in stream.held if h.seq_num > seq_num),
        contexts=contexts,
    )
    state = with_stream(state, stream)
    out: list[Assembled] = []
    if earlier:
        state, said = notify(
            state,
            stream.run,
            "lost_event",
            f"event {earlier[0].seq_num} of stream {stream.name!r} never came; "
            "frames without their event have no energy",
        )
        out += said
    for item in earlier:
        state, lost, said = context_of(state, stream, {}, item.seq_num, context.time)
        out += said
        state, said = _release(state, stream, item, lost)
        out += said
    for item in match:
        state, said = _release(state, stream, item, context)
        out += said
    return state, tuple(out)


def release_held(state: AssemblerState, stream: StreamState) -> Outcome:
    """Release what still waits when a run ends, and refuse events whose images never came."""
    held, contexts, image = stream.held, stream.contexts, stream.image
    stream = replace(stream, held=(), contexts={})
    state, out = _release_all(with_stream(state, stream), stream, held)
    for number in sorted(contexts):
        arrived = state.runs[stream.run].arrived.get(stream.name, ())
        if image is not None and not contains(arrived, number):
            message = f"the stream_datum of event {number} of stream {stream.name!r} never came"
            key = key_of(stream, image, number)
            state, more = reject(state, key, contexts[number], "missing_datum", message)
            out += more
    return state, out
