"""Results as Bluesky documents: what has been emitted of a result run, and what comes next.

The functions are pure: uids are derived from the raw run and the settings, and every time is data
time, so that live, replayed and in-process results are equal bit for bit (but for ``latency``).
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from . import advice, data_keys
from .assemble.values import number
from .frames import Document, NamedDocument
from .results import FrameResult, Ledger
from .xanes import XanesUpdate

CARRIED = ("sample", "data_session", "proposal", "cycle", "tiled_access_tags")
"""Entries of the raw run's start document that its result run has too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldFrame:
    """A frame whose row waits until the size of the images is known.

    Attributes
    ----------
    ledger : columns of its row, see `Ledger.live`.
    """

    result: FrameResult
    ledger: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputState:
    """Everything that is remembered of a result run.

    Attributes
    ----------
    uid : uuid5 of the raw run's uid and the hash of the settings.
    raw : uid of the raw run.
    time : latest data time, s.
    opening : start document and descriptors, for those who join later.
    descriptors : uid of the descriptor of each stream that has begun.
    counts : events emitted of each stream.
    shape : (H, W) of the images; None until a frame has told it.
    held : skipped frames that came before that, in order.
    ledger : what became of the frames of the raw run.
    advice : state of the advice.
    """

    uid: str
    raw: str
    time: float
    opening: tuple[NamedDocument, ...]
    descriptors: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    shape: tuple[int, int] | None = None
    held: tuple[HeldFrame, ...] = ()
    ledger: Ledger = field(default_factory=Ledger)
    advice: advice.AdviceState = field(default_factory=advice.init)


Emitted = tuple[OutputState, tuple[NamedDocument, ...]]
"""State of a result run, and the documents that lead to it."""


def open_run(start: Mapping[str, Any], provenance: Mapping[str, Any]) -> Emitted:
    """Open the result run of a raw run.

    Parameters
    ----------
    start : start document of the raw run.
    provenance : version, profile, device, detector, weights_sha256, config_sha256.
    """
    uid = str(
        uuid.uuid5(uuid.NAMESPACE_URL, f"operando:{start['uid']}:{provenance['config_sha256']}")
    )
    time = number(start.get("time")) or 0.0
    doc: Document = {key: start[key] for key in (*CARRIED, "scan_id") if key in start}
    doc |= {
        "uid": uid,
        "time": time,
        "original_run_uid": start["uid"],
        "purpose": "processed",
        "plan_name": "operando",
        "plan_type": "generator",
        "sample": start.get("sample", start.get("sample_name", "")),
        "operando": dict(provenance),
        "hints": {"dimensions": [(["frame"], "frames")]},
    }
    opening: tuple[NamedDocument, ...] = (("start", doc),)
    return OutputState(uid=uid, raw=start["uid"], time=time, opening=opening), opening


def frame_documents(
    state: OutputState,
    result: FrameResult,
    received: int,
    now: float,
    settings: advice.AdviceSettings,
    *,
    roi: int = 0,
    rows: XanesUpdate | None = None,
) -> Emitted:
    """Emit a frame, its particles, their spectra and maps, and the advice that follows from it.

    Skipped frames that come before the size of the images is known are held until it is.

    Parameters
    ----------
    received : sample frames that had been announced when this one was queued: not what came since,
        which depends on how many documents were taken at once.
    now : wall clock, s since the epoch, for `latency`.
    settings : of the advice.
    roi : side of the particles' windows, px.
    rows : spectra and maps that the frame has brought.
    """
    ledger = state.ledger.book(result)
    state = replace(state, ledger=ledger, time=max(state.time, result.time))
    row = HeldFrame(result=result, ledger=ledger.live(received))
    if state.shape is None and result.aligned is None:
        return replace(state, held=(*state.held, row)), ()
    emitted: Emitted = state, ()
    if state.shape is None and result.aligned is not None:
        height, width = result.aligned.shape
        emitted = _open_frames(state, (height, width), result.time)
    emitted = _emit_held(emitted, now, settings)
    for particle in result.particles:
        data = data_keys.particle_data(result, particle)
        emitted = _event(emitted, "particles", data, result.time, (roi, roi))
    emitted = _emit_rows(emitted, rows or XanesUpdate())
    # the frame comes last: who sees it may read all its particles
    return _frame(emitted, row, now, settings)


def spectrum_documents(state: OutputState, rows: XanesUpdate) -> Emitted:
    """Emit spectra and maps that belong to no frame."""
    return _emit_rows((state, ()), rows)


def close_run(
    state: OutputState,
    stop: Mapping[str, Any] | None,
    shape: tuple[int, int] | None,
    now: float,
    settings: advice.AdviceSettings,
) -> Emitted:
    """Close the result run with its ledger.

    Parameters
    ----------
    stop : stop document of the raw run, None if it never came.
    shape : (H, W) of its images, if it is known.
    now, settings : as for `frame_documents`.
    """
    emitted: Emitted = state, ()
    if state.held:  # not one frame could be used; still each has its event
        emitted = _open_frames(state, shape or (1, 1), state.held[0].result.time)
        emitted = _emit_held(emitted, now, settings)
    state, documents = emitted
    told = number(stop.get("time")) if stop else None
    doc = {
        "uid": _derived_uid(state.uid, "stop"),
        "run_start": state.uid,
        "time": state.time if told is None else told,
        "exit_status": stop.get("exit_status", "success") if stop else "fail",
        "reason": stop.get("reason", "") if stop else "the raw run ended without a stop document",
        "num_events": dict(state.counts),
        "ledger": state.ledger.as_dict(),
    }
    return state, (*documents, ("stop", doc))


def _open_frames(state: OutputState, shape: tuple[int, int], time: float) -> Emitted:
    return _open((replace(state, shape=shape), ()), "frames", shape, time)


def _emit_held(emitted: Emitted, now: float, settings: advice.AdviceSettings) -> Emitted:
    state, documents = emitted
    emitted = replace(state, held=()), documents
    for row in state.held:
        emitted = _frame(emitted, row, now, settings)
    return emitted


def _frame(
    emitted: Emitted, row: HeldFrame, now: float, settings: advice.AdviceSettings
) -> Emitted:
    """Emit the row of a frame, and what somebody should know or do now."""
    result, shape = row.result, emitted[0].shape or (1, 1)
    latency = now - result.time
    data = data_keys.frame_data(result, shape, latency, row.ledger)
    state, documents = _event(emitted, "frames", data, result.time, shape)
    advising, items = advice.update(state.advice, result, shape, latency, settings)
    emitted = replace(state, advice=advising), documents
    for item in items:
        emitted = _event(emitted, "advice", advice.advice_data(item), item.time, shape)
    return emitted


def _emit_rows(emitted: Emitted, rows: XanesUpdate) -> Emitted:
    for row in rows.spectra:
        emitted = _event(emitted, "spectra", data_keys.xanes_data(row), row.time, (0, 0))
    for item in rows.maps:
        height, width = item.fraction.shape
        emitted = _event(emitted, "maps", data_keys.xanes_data(item), item.time, (height, width))
    return emitted


def _event(
    emitted: Emitted, stream: str, data: dict[str, Any], time: float, image: tuple[int, int]
) -> Emitted:
    """Emit an event at a data time, s; the first of a stream opens it for images of that shape."""
    if stream not in emitted[0].descriptors:
        emitted = _open(emitted, stream, image, time)
    state, documents = emitted
    count = state.counts[stream] + 1
    doc: Document = {
        "uid": _derived_uid(state.uid, stream, count),
        "descriptor": state.descriptors[stream],
        "seq_num": count,
        "time": time,
        "data": data,
        "timestamps": dict.fromkeys(data, time),
        "filled": {},
    }
    after = replace(state, counts={**state.counts, stream: count})
    return after, (*documents, ("event", doc))


def _open(emitted: Emitted, stream: str, image: tuple[int, int], time: float) -> Emitted:
    state, documents = emitted
    keys = data_keys.describe(stream, image, f"operando:{state.raw}")
    uid = _derived_uid(state.uid, stream)
    doc: Document = {
        "uid": uid,
        "run_start": state.uid,
        "name": stream,
        "time": time,
        "data_keys": keys,
        "object_keys": {"operando": list(keys)},
        "configuration": {"operando": {"data": {}, "timestamps": {}, "data_keys": {}}},
        "hints": {"operando": {"fields": data_keys.HINTS[stream]}},
    }
    after = replace(
        state,
        opening=(*state.opening, ("descriptor", doc)),
        descriptors={**state.descriptors, stream: uid},
        counts={**state.counts, stream: 0},
    )
    return after, (*documents, ("descriptor", doc))


def _derived_uid(*parts: object) -> str:
    """Return a uid that is a function of its parts."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))
