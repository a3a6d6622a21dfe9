"""Documents -> frame references: `init` and `update`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from .descriptors import stream_state
from .events import events_of_page, on_event, on_stream_datum
from .references import resource_state
from .runs import end_run, on_stop
from .settings import AssembleSettings
from .state import (
    Assembled,
    AssemblerState,
    DatumState,
    Outcome,
    Ranges,
    RunStarted,
    RunState,
    notify,
    notify_all,
    with_run,
    with_stream,
)
from .values import MalformedDocument, number, optional_text, seconds, section, sequence, text

Arrivals = tuple[str, Ranges | None]
"""Run of a stream, and the numbers of its events that have come; None if they are not noted."""

# Documents of runs that are not known (yet, or any more) must not pile up. Bounds by eye, far above
# what one run brings.
_DATUMS_KEPT = 100_000
_RESOURCES_KEPT = 10_000
_RUNS_KEPT = 1000
_STREAMS_KEPT = 1000


def init(settings: AssembleSettings | None = None) -> AssemblerState:
    """Return the state before the first document."""
    return AssemblerState(settings=settings or AssembleSettings())


def update(
    state: AssemblerState, name: str, doc: Any
) -> tuple[AssemblerState, tuple[Assembled, ...]]:
    """Take one document.

    Parameters
    ----------
    state : what is known so far; not changed.
    name : name of the document: start, descriptor, event, ...
    doc : the document. Nothing about it is taken for granted.

    Returns
    -------
    state : the new state.
    assembled : what follows from the document, in order. A document that cannot be understood
        gives a `Notice`, an image that cannot be used a `Rejected`; nothing is raised.
    """
    handler = _HANDLERS.get(name) if isinstance(name, str) else None
    if handler is None:
        message = f"documents named {str(name)[:60]!r} are left out"
        return notify(state, "", "unknown_document", message, str(name)[:60])
    if not isinstance(doc, Mapping):
        return _malformed(state, "", name, f"it is a {type(doc).__name__}, not a mapping")
    state = replace(state, count=state.count + 1)
    try:
        after, out = handler(state, doc)
    except MalformedDocument as error:
        after, out = _malformed(state, _run_of(state, doc), name, str(error))
    run = after.runs.get(_run_of(after, doc))
    if run is None:
        return after, out
    stamp = doc.get("time")
    pages = sequence(stamp)
    time = number(pages[-1] if len(pages) else stamp)
    latest = run.latest if time is None else max(run.latest, time)
    return with_run(after, replace(run, latest=latest, newest=after.count)), out


def _malformed(state: AssemblerState, run: str, name: str, why: str) -> Outcome:
    return notify(state, run, "malformed", f"a {name} document is left out: {why}", name)


def _run_of(state: AssemblerState, doc: Mapping[Any, Any]) -> str:
    """Return the uid of the run of a document as far as it is known, else ""."""
    stream = state.streams.get(optional_text(doc, "descriptor"))
    return stream.run if stream is not None else optional_text(doc, "run_start")


def _on_start(state: AssemblerState, doc: Mapping[str, Any]) -> Outcome:
    uid = text(doc, "uid")
    if uid in state.runs:
        message = "documents come twice (two publishers?); start left out"
        return notify(state, uid, "duplicate", message)
    return _open(state, uid, doc)


def _open(state: AssemblerState, uid: str, start: Mapping[str, Any]) -> Outcome:
    state, out = _make_room(state)
    start = {k: v for k, v in start.items() if isinstance(k, str)}
    start["time"] = seconds(start.get("time")) or 0.0
    count = state.count
    run = RunState(uid=uid, start=start, time=start["time"], opened=count, newest=count)
    state = replace(state, finished=tuple(u for u in state.finished if u != uid))
    return with_run(state, run), (*out, RunStarted(run=uid, start=start))


def _make_room(state: AssemblerState) -> Outcome:
    """End the oldest of very many runs that are open and have no images: their stops were lost."""
    if len(state.runs) < _RUNS_KEPT:
        return state, ()
    idle = next((uid for uid, run in state.runs.items() if run.announced == 0), None)
    return (state, ()) if idle is None else end_run(state, idle)


def _on_descriptor(state: AssemblerState, doc: Mapping[str, Any]) -> Outcome:
    run, uid = text(doc, "run_start"), text(doc, "uid")
    if uid in state.streams:
        message = "documents come twice (two publishers?); descriptor left out"
        return notify(state, run, "duplicate", message)
    out: tuple[Assembled, ...] = ()
    if run not in state.runs:
        if run in state.finished:
            message = f"descriptor of run {run[:80]!r}, which has ended"
            return notify(state, "", "orphan", message, run)
        state, out = _open(state, run, {"uid": run, "time": doc.get("time")})
        message = "the start document was lost (joined late?); going on with what the others say"
        state, more = notify(state, run, "orphan", message, "start")
        out += more
    state, more = _add_stream(state, run, doc)
    return state, out + more


def _add_stream(state: AssemblerState, run: str, doc: Mapping[str, Any]) -> Outcome:
    known = state.runs[run]
    if len(known.streams) >= _STREAMS_KEPT:
        message = f"more than {_STREAMS_KEPT} streams in a run; further ones are left out"
        return notify(state, run, "streams", message)
    stream, remarks = stream_state(doc, known, state.settings)
    line = f"{stream.name}: {stream.summary or 'no data keys'}"
    if stream.role is None and stream.image is not None:
        line += " (images, but no role in assemble.streams)"
    state = with_stream(with_run(state, replace(known, streams=(*known.streams, line))), stream)
    return notify_all(state, run, remarks)


def _on_event_page(state: AssemblerState, doc: Mapping[str, Any]) -> Outcome:
    out: list[Assembled] = []
    for event in events_of_page(doc):
        try:
            state, more = on_event(state, event)
        except MalformedDocument as error:
            state, more = _malformed(state, _run_of(state, doc), "event_page", str(error))
        out += more
    return state, tuple(out)


def _on_resource(state: AssemblerState, doc: Mapping[str, Any]) -> Outcome:
    run = optional_text(doc, "run_start")
    if not run and len(state.runs) == 1:
        run = next(iter(state.runs))
    resource = resource_state(doc, run)
    resources = _latest({**state.resources, resource.uid: resource}, _RESOURCES_KEPT)
    return replace(state, resources=resources), ()


def _latest(items: dict[str, Any], most: int) -> dict[str, Any]:
    """Return the latest `most` items."""
    return dict(list(items.items())[-most:]) if len(items) > most else items


def _on_datum(state: AssemblerState, doc: Mapping[str, Any]) -> Outcome:
    datum = DatumState(resource=text(doc, "resource"), kwargs=section(doc, "datum_kwargs"))
    return _add_datums(state, datum.resource, {text(doc, "datum_id"): datum})


def _on_datum_page(state: AssemblerState, doc: Mapping[str, Any]) -> Outcome:
    resource = text(doc, "resource")
    columns = {k: sequence(v) for k, v in section(doc, "datum_kwargs").items()}
    new = {
        datum_id: DatumState(
            resource=resource,
            kwargs={k: column[i] for k, column in columns.items() if i < len(column)},
        )
        for i, datum_id in enumerate(sequence(doc.get("datum_id")))
        if isinstance(datum_id, str) and datum_id
    }
    if not new:
        raise MalformedDocument("a datum_page should have a list of datum_id")
    return _add_datums(state, resource, new)


def _add_datums(state: AssemblerState, resource: str, new: dict[str, DatumState]) -> Outcome:
    state = replace(state, datums=_latest({**state.datums, **new}, _DATUMS_KEPT))
    if resource in state.resources:
        return state, ()
    message = f"datum of resource {resource[:80]!r}, which was never seen"
    return notify(state, "", "orphan", message, resource)


def known_streams(state: AssemblerState) -> dict[str, Arrivals]:
    """Return the events that have come, by uid of their descriptor; noted are those of images."""
    return {
        uid: (
            stream.run,
            None if stream.image is None else state.runs[stream.run].arrived.get(stream.name, ()),
        )
        for uid, stream in state.streams.items()
        if stream.run in state.runs
    }


_HANDLERS: Mapping[str, Callable[[AssemblerState, Mapping[str, Any]], Outcome]] = {
    "start": _on_start,
    "descriptor": _on_descriptor,
    "event": on_event,
    "event_page": _on_event_page,
    "resource": _on_resource,
    "stream_resource": _on_resource,
    "datum": _on_datum,
    "datum_page": _on_datum_page,
    "stream_datum": on_stream_datum,
    "stop": on_stop,
}
