"""Events and event pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from .announce import Outcome, context_of, from_value, key_of, reject
from .arrivals import LARGEST_SEQ_NUM
from .energy import energy_of
from .state import Assembled, AssemblerState, ImageKey, StreamState, notify, with_run, with_stream
from .streaming import event_arrived
from .values import MalformedDocument, integer, optional_text, seconds, section, sequence, text


def on_event(state: AssemblerState, doc: Mapping[str, Any]) -> Outcome:
    """One event: frame references of its images, or the release of those that wait for it."""
    uid = text(doc, "descriptor")
    stream = state.streams.get(uid)
    if stream is None:
        return notify(
            state,
            "",
            "orphan",
            f"events of descriptor {uid[:80]!r}, which was never seen (or whose run has ended), "
            "are left out",
            uid,
        )
    seq_num = integer(doc.get("seq_num"))
    if seq_num is None or not 1 <= seq_num <= LARGEST_SEQ_NUM:
        raise MalformedDocument(f"seq_num should be a count from 1, got {doc.get('seq_num')!r:.40}")
    event = optional_text(doc, "uid")
    if event and event == stream.last_event:
        return notify(
            state,
            stream.run,
            "duplicate",
            "documents come twice (two publishers?); repeated events are left out",
        )
    stream = replace(stream, last_event=event)
    state = with_stream(state, stream)
    return _event(state, stream, section(doc, "data"), seq_num, seconds(doc.get("time")))


def _event(
    state: AssemblerState,
    stream: StreamState,
    data: Mapping[str, Any],
    seq_num: int,
    time: float | None,
) -> Outcome:
    if stream.role is None:
        return _remember_energy(state, stream, data), ()
    stream, adopted = _adopt(state, stream, data)
    if stream.image is None:
        return state, ()
    out: tuple[Assembled, ...] = ()
    if adopted:
        state = with_stream(state, stream)
        state, out = notify(state, stream.run, "shape", adopted)
    image = stream.image
    state, context, said = context_of(state, stream, data, seq_num, time)
    out += said
    if image.name in data:
        key = key_of(stream, image, seq_num)
        state, more = from_value(state, key, context, image, data[image.name])
    elif image.streamed:
        state, more = event_arrived(state, stream, seq_num, context)
    else:
        message = f"event {seq_num} of stream {stream.name!r} has no {image.name!r}"
        key = key_of(stream, image, seq_num)
        state, more = reject(state, key, context, "missing_data", message)
    return state, out + more


def _remember_energy(
    state: AssemblerState, stream: StreamState, data: Mapping[str, Any]
) -> AssemblerState:
    """Keep the energy that a baseline or a monitor reports, for streams that carry none."""
    if stream.energy is None or stream.energy.key is None:
        return state
    energy = energy_of(stream.energy, data, 0)
    run = state.runs[stream.run]
    return state if energy is None else with_run(state, replace(run, energy=energy))


def _adopt(
    state: AssemblerState, stream: StreamState, data: Mapping[str, Any]
) -> tuple[StreamState, str]:
    """Take an array in the data for the image where the descriptor declared none."""
    if stream.image is not None or state.settings.image_key is not None:
        return stream, ""
    side = state.settings.min_side
    found = sorted(k for k, v in data.items() if _is_image(v, side))
    if not found:
        return stream, ""
    image = ImageKey(name=found[0], declared=None, per_event=1, streamed=False)
    message = f"{found[0]!r} of stream {stream.name!r} holds images, which its descriptor denies"
    return replace(stream, image=image), message


def _is_image(value: Any, side: int) -> bool:
    """Whether a value is a numpy image or a nested list that may be one."""
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
