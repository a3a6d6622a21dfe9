"""Events and StreamDatum documents, and which of them belong together.

In a step scan the stream_datum of a point comes just before its event, in a fly scan no event ever
comes; the documents do not say which it is. So frames wait until their event comes, until a later
event or datum shows that it will not, or until the run stops.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from .references import (
    accept,
    asset,
    context_of,
    frames_per_index,
    from_value,
    index_range,
    reject,
    unknown_kind,
)
from .state import (
    LARGEST_SEQ_NUM,
    Assembled,
    AssemblerState,
    EventContext,
    ImageKey,
    Outcome,
    PendingImages,
    StreamState,
    contains,
    notify,
    with_run,
    with_stream,
)
from .values import (
    MalformedDocument,
    integer,
    optional_text,
    seconds,
    section,
    sequence,
    text,
    value_of,
)

_CONTEXTS_KEPT = 256  # by eye: events come before their stream_datum by a few, if at all
_FALLBACK_PERIOD = 1.0  # s, by eye: as good as any where nobody says how fast a fly scan was


def on_event(state: AssemblerState, doc: Mapping[str, Any]) -> Outcome:
    """Take one event: refer to its images, or release those that wait for it."""
    uid = text(doc, "descriptor")
    stream = state.streams.get(uid)
    if stream is None:
        message = (
            f"events of descriptor {uid[:80]!r}, which was never seen (or whose run has ended), "
            "are left out"
        )
        return notify(state, "", "orphan", message, uid)
    seq_num = integer(doc.get("seq_num"))
    if seq_num is None or not 1 <= seq_num <= LARGEST_SEQ_NUM:
        raise MalformedDocument(f"seq_num should be a count from 1, got {doc.get('seq_num')!r:.40}")
    event = optional_text(doc, "uid")
    if event and event == stream.last_event:
        message = "documents come twice (two publishers?); repeated events are left out"
        return notify(state, stream.run, "duplicate", message)
    stream = replace(stream, last_event=event)
    state = with_stream(state, stream)
    data = section(doc, "data")
    if stream.role is None:
        return _keep_energy(state, stream, data), ()
    out: tuple[Assembled, ...] = ()
    if stream.image is None:
        state, stream, out = _adopt_image(state, stream, data)
    if stream.image is None:
        return state, out
    state, more = _images(state, stream, stream.image, data, seq_num, seconds(doc.get("time")))
    return state, out + more


def _images(
    state: AssemblerState,
    stream: StreamState,
    image: ImageKey,
    data: Mapping[str, Any],
    seq_num: int,
    time: float | None,
) -> Outcome:
    """Refer to the images of an event."""
    state, context, out = context_of(state, stream, data, seq_num, time)
    key = stream.key(seq_num)
    if image.name in data:
        state, more = from_value(state, key, context, image, data[image.name])
    elif image.streamed:
        state, more = _pair(state, stream, seq_num, context)
    else:
        message = f"event {seq_num} of stream {stream.name!r} has no {image.name!r}"
        state, more = reject(state, key, context, "missing_data", message)
    return state, out + more


def _keep_energy(
    state: AssemblerState, stream: StreamState, data: Mapping[str, Any]
) -> AssemblerState:
    """Keep the energy that a baseline or a monitor reports, for streams that carry none."""
    if stream.energy is None or stream.energy.key is None:
        return state
    energy, _ = value_of(stream.energy, data, 0)
    run = state.runs[stream.run]
    return state if energy is None else with_run(state, replace(run, energy=energy))


def _adopt_image(
    state: AssemblerState, stream: StreamState, data: Mapping[str, Any]
) -> tuple[AssemblerState, StreamState, tuple[Assembled, ...]]:
    """Take an array in the data for the image where the descriptor declares none."""
    settings = state.settings
    found = sorted(k for k, v in data.items() if _is_image(v, settings.min_side))
    if settings.image_key is not None or not found:
        return state, stream, ()
    image = ImageKey(name=found[0], declared=None, per_event=1, streamed=False)
    stream = replace(stream, image=image)
    message = f"{found[0]!r} of stream {stream.name!r} holds images, which its descriptor denies"
    state, out = notify(with_stream(state, stream), stream.run, "shape", message)
    return state, stream, out


def _is_image(value: Any, side: int) -> bool:
    """Tell whether a value is a numpy image or a nested list that may be one."""
    if isinstance(value, np.ndarray):
        return value.ndim in (2, 3) and min(value.shape[-2:]) >= side
    if isinstance(value, list | tuple) and len(value) >= side:
        first = value[0]
        return isinstance(first, list | tuple) and len(first) >= side
    return False


def events_of_page(doc: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Split an event_page into its events.

    Raises
    ------
    MalformedDocument
        If it has no list of seq_num. Columns that are too short give events without that key.
    """
    numbers = sequence(doc.get("seq_num"))
    if not len(numbers):
        raise MalformedDocument("an event_page should have a list of seq_num")
    columns = {k: sequence(v) for k, v in section(doc, "data").items()}
    uids, times = sequence(doc.get("uid")), sequence(doc.get("time"))
    return [
        {
            "descriptor": doc.get("descriptor"),
            "seq_num": seq_num,
            "uid": uids[i] if i < len(uids) else "",
            "time": times[i] if i < len(times) else None,
            "data": {k: column[i] for k, column in columns.items() if i < len(column)},
        }
        for i, seq_num in enumerate(numbers)
    ]


def on_stream_datum(state: AssemblerState, doc: Mapping[str, Any]) -> Outcome:
    """Take one stream_datum: refer to its images, at once or when their events have come."""
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
    count, most = indices[1] - indices[0], state.settings.max_datum_frames
    reason, message = "unknown_spec", unknown_kind(state, resource.kind)
    if not message and count > most:
        reason = "bad_datum"
        message = f"one stream_datum announces {count} events; assemble.max_datum_frames is {most}"
    if message:
        state, context, out = context_of(state, stream, {}, number, None)
        state, more = reject(state, stream.key(number), context, reason, message)
        return state, out + more
    per = frames_per_index(resource, image.per_event)
    stream = _numbered(stream, uid, number, count)
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
    """Tell whether a later datum came where the event of an earlier one should have come first.

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
    return accept(state, stream.key(item.seq_num), context, image, item.asset)


def _release_all(
    state: AssemblerState, stream: StreamState, items: Iterable[PendingImages]
) -> Outcome:
    """Release frames without an event: their times are counted from the descriptor's."""
    out: tuple[Assembled, ...] = ()
    for item in items:
        state, context, notices = context_of(state, stream, {}, item.seq_num, None)
        period = state.settings.fly_period or context.exposure or _FALLBACK_PERIOD
        context = replace(context, time=stream.time + (item.seq_num - 1) * period)
        message = (
            f"frames of stream {stream.name!r} come without events; their times are counted from "
            f"its descriptor, {period:g} s per frame (assemble.fly_period)"
        )
        state, more = notify(state, stream.run, "time", message, stream.name)
        state, frames = _release(state, stream, item, context)
        out += notices + more + frames
    return state, out


def _pair(
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
    later = tuple(h for h in stream.held if h.seq_num > seq_num)
    stream = replace(stream, delivery="events", held=later, contexts=contexts)
    state = with_stream(state, stream)
    out: tuple[Assembled, ...] = ()
    if earlier:
        message = (
            f"event {earlier[0].seq_num} of stream {stream.name!r} never came; "
            "frames without their event have no energy"
        )
        state, out = notify(state, stream.run, "lost_event", message)
    for item in earlier:
        state, lost, notices = context_of(state, stream, {}, item.seq_num, context.time)
        state, frames = _release(state, stream, item, lost)
        out += notices + frames
    for item in match:
        state, frames = _release(state, stream, item, context)
        out += frames
    return state, out


def release_held(state: AssemblerState, stream: StreamState) -> Outcome:
    """Release what still waits when a run ends, and refuse events whose images never came."""
    held, contexts, image = stream.held, stream.contexts, stream.image
    stream = replace(stream, held=(), contexts={})
    state, out = _release_all(with_stream(state, stream), stream, held)
    for number in sorted(contexts):
        arrived = state.runs[stream.run].arrived.get(stream.name, ())
        if image is not None and not contains(arrived, number):
            message = f"the stream_datum of event {number} of stream {stream.name!r} never came"
            key = stream.key(number)
            state, more = reject(state, key, contexts[number], "missing_datum", message)
            out += more
    return state, out
