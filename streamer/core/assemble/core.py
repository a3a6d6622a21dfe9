"""Documents -> frame references: `init` and `update`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..frames import FrameKey, Role
from .announce import Outcome, count_image
from .arrivals import contains, frames_of, missing_of
from .descriptors import resource_state, stream_state
from .events import events_of_page, on_event
from .settings import AssembleSettings
from .state import (
    Assembled,
    AssemblerState,
    DatumState,
    Declined,
    Missing,
    RunStarted,
    RunState,
    RunStopped,
    notify,
    notify_all,
    with_run,
    with_stream,
    without,
)
from .streaming import on_stream_datum, release_held
from .values import MalformedDocument, number, optional_text, seconds, section, sequence, text

_FINISHED_KEPT = 100
# Documents of runs that are not known (yet, or any more) must not pile up.
_DATUMS_KEPT = 100_000
_RESOURCES_KEPT = 10_000
_RUNS_KEPT = 1000
_STREAMS_KEPT = 1000


def init(settings: AssembleSettings | None = None) -> AssemblerState:
    """State before the first document."""
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
    return touched(after, _run_of(after, doc), doc), out


def _malformed(state: AssemblerState, run: str, name: str, why: str) -> Outcome:
    return notify(state, run, "malformed", f"a {name} document is left out: {why}", name)


def _run_of(state: AssemblerState, doc: Mapping[Any, Any]) -> str:
    """Uid of the run of a document as far as it can be told, else ""."""
    stream = state.streams.get(optional_text(doc, "descriptor"))
    return stream.run if stream is not None else optional_text(doc, "run_start")


def _on_start(state: AssemblerState, doc: Mapping[str, Any]) -> Outcome:
    uid = text(doc, "uid")
    if uid in state.runs:
        return notify(
            state, uid, "duplicate", "documents come twice (two publishers?); start left out"
        )
    return _open(state, uid, doc)


def _open(state: AssemblerState, uid: str, start: Mapping[str, Any]) -> Outcome:
    state, out = _make_room(state)
    start = {k: v for k, v in start.items() if isinstance(k, str)}
    start["time"] = seconds(start.get("time")) or 0.0
    count = state.count
    run = RunState(uid=uid, start=start, time=start["time"], opened=count, newest=count)
    finished = tuple(u for u in state.finished if u != uid)
    return with_run(replace(state, finished=finished), run), (
        *out,
        RunStarted(run=uid, start=start),
    )


def _make_room(state: AssemblerState) -> Outcome:
    """End the oldest of very many runs that are open and have no images: their stops were lost."""
    if len(state.runs) < _RUNS_KEPT:
        return state, ()
    idle = next((uid for uid, run in state.runs.items() if run.announced == 0), None)
    return (state, ()) if idle is None else end_run(state, idle)


def _open_without_start(state: AssemblerState, uid: str, doc: Mapping[str, Any]) -> Outcome:
    """Open a run whose start document was lost, which a late joiner must live with."""
    state, out = _open(state, uid, {"uid": uid, "time": doc.get("time")})
    message = "the start document was lost (joined late?); going on with what the others say"
    state, said = notify(state, uid, "orphan", message, "start")
    return state, out + said


def _on_descriptor(state: AssemblerState, doc: Mapping[str, Any]) -> Outcome:
    run, uid = text(doc, "run_start"), text(doc, "uid")
    if uid in state.streams:
        return notify(
            state, run, "duplicate", "documents come twice (two publishers?); descriptor left out"
        )
    out: tuple[Assembled, ...] = ()
    if run not in state.runs:
        if run in state.finished:
            return notify(
                state, "", "orphan", f"descriptor of run {run[:80]!r}, which has ended", run
            )
        state, out = _open_without_start(state, run, doc)
    known = state.runs[run]
    if len(known.streams) >= _STREAMS_KEPT:
        message = f"more than {_STREAMS_KEPT} streams in a run; further ones are left out"
        state, said = notify(state, run, "streams", message)
        return state, out + said
    stream, remarks = stream_state(doc, known, state.settings)
    line = f"{stream.name}: {stream.summary or 'no data keys'}"
    if stream.role is None and stream.image is not None:
        line += " (images, but no role in assemble.streams)"
    state = with_stream(with_run(state, replace(known, streams=(*known.streams, line))), stream)
    state, said = notify_all(state, run, remarks)
    return state, out + said


def _on_resource(state: AssemblerState, doc: Mapping[str, Any]) -> Outcome:
    run = optional_text(doc, "run_start")
    if not run and len(state.runs) == 1:
        run = next(iter(state.runs))
    resource = resource_state(doc, run)
    resources = _latest({**state.resources, resource.uid: resource}, _RESOURCES_KEPT)
    return replace(state, resources=resources), ()


def _latest(items: dict[str, Any], most: int) -> dict[str, Any]:
    """Return the latest `most` items."""
    for key in list(items)[: len(items) - most] if len(items) > most else ():
        del items[key]
    return items


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


def _on_event_page(state: AssemblerState, doc: Mapping[str, Any]) -> Outcome:
    out: list[Assembled] = []
    for event in events_of_page(doc):
        try:
            state, more = on_event(state, event)
        except MalformedDocument as error:
            state, more = _malformed(state, _run_of(state, doc), "event_page", str(error))
        out += more
    return state, tuple(out)


def _on_stop(state: AssemblerState, doc: Mapping[str, Any]) -> Outcome:
    run = text(doc, "run_start")
    if run not in state.runs:
        message = f"stop of run {run[:80]!r}, which is not open"
        return notify(state, "", "orphan", message, f"stop:{run}")
    out: list[Assembled] = []
    for stale in stale_runs(state, state.runs[run], doc):
        message = "it is ended without its stop document, as a newer run has been stopped"
        state, more = notify(state, stale, "no_stop", f"{message} (assemble.stale_run_s)")
        state, ended = end_run(state, stale)
        out += more + ended
    state, ended = end_run(state, run, doc)
    return state, (*out, *ended)


def end_run(
    state: AssemblerState, run: str, stop: Mapping[str, Any] | None = None
) -> tuple[AssemblerState, tuple[Assembled, ...]]:
    """End a run, with its stop document or, for the service to decide, without.

    Parameters
    ----------
    run : uid of the run; nothing happens if it is not open.
    stop : its stop document, None if it never came.

    Returns
    -------
    state : without anything of that run.
    assembled : frames that still waited for their events, what is `Missing`, `Declined` if the
        run had no image, and `RunStopped`.
    """
    if run not in state.runs:
        return state, ()
    out: list[Assembled] = []
    for stream in [s for s in state.streams.values() if s.run == run]:
        state, more = release_held(state, stream)
        out += more
    known = state.runs[run]
    missing = missing_of(state, known, stop)
    out += missing
    if known.announced == 0 and not missing:
        out.append(Declined(run=run, reason=_why_declined(state, known)))
    out.append(RunStopped(run=run, stop=stop, notices=known.notices))
    return _forget(state, run), tuple(out)


def _why_declined(state: AssemblerState, run: RunState) -> str:
    """Why a run gives no frames, in one line."""
    if not run.streams:
        return "no images: the run has no data"
    lines = "; ".join(run.streams[:4])
    lines += f"; and {len(run.streams) - 4} more streams" if len(run.streams) > 4 else ""
    name = state.settings.image_key
    if name is not None:
        return f"no images: no event brought {name!r} (assemble.image_key); streams: {lines}"
    return f"no images; streams: {lines}"


def _forget(state: AssemblerState, run: str) -> AssemblerState:
    """Drop what belongs to a run, and what belongs to none once the last run ended."""
    runs = without(state.runs, {run})
    gone = {u for u, r in state.resources.items() if r.run == run or not runs}
    return replace(
        state,
        runs=runs,
        streams={u: s for u, s in state.streams.items() if s.run != run},
        resources=without(state.resources, gone),
        datums={u: d for u, d in state.datums.items() if runs and d.resource not in gone},
        finished=(*state.finished, run)[-_FINISHED_KEPT:],
    )


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
    "stop": _on_stop,
}

# Runs whose stop document was lost.


def touched(state: AssemblerState, run: str, doc: Mapping[str, Any]) -> AssemblerState:
    """Remember that a document of a run has come, and the time in it."""
    known = state.runs.get(run)
    if known is None:
        return state
    stamp = doc.get("time")
    pages = sequence(stamp)
    time = number(pages[-1] if len(pages) else stamp)
    latest = known.latest if time is None else max(known.latest, time)
    return with_run(state, replace(known, latest=latest, newest=state.count))


def stale_runs(state: AssemblerState, run: RunState, stop: Mapping[str, Any]) -> list[str]:
    """Uids of open runs that will not get their stop, as a newer run tells by its own.

    Runs may be interleaved, and one may be silent while another is going on. So a run is given up
    only when a run with images that began after its last document has been stopped, and when that
    was `stale_run_s` of data time after its last document. No clock is asked: a replay ends the
    same runs at the same place.
    """
    patience = state.settings.stale_run_s
    if patience is None or not run.announced:
        return []
    told = number(stop.get("time"))
    now = run.latest if told is None else told
    return [
        other.uid
        for other in state.runs.values()
        if other.uid != run.uid
        and other.newest < run.opened
        and now - max(other.latest, other.time) > patience
    ]


# Events that came, and that the source had no room for.


def count_dropped(state: AssemblerState, told: Mapping[str, Any]) -> Outcome:
    """Count the images of events that a source gave up: they came, and nobody will see them.

    Parameters
    ----------
    told : their ``descriptor``, ``seq_nums`` as ranges of first and last, and the ``reason``, see
        `streamer.io.wire.losses`. Pixels that lie in files are announced otherwise, and lost only
        if those documents are.
    """
    stream = state.streams.get(told["descriptor"])
    if stream is None or stream.role is None or stream.image is None or stream.image.streamed:
        return state, ()
    lost: Counter[Role] = Counter()
    for first, last in told["seq_nums"]:
        for seq_num in range(first, last + 1):
            if contains(state.runs[stream.run].arrived.get(stream.name, ()), seq_num):
                continue  # another copy of the event has come
            key = FrameKey(
                run=stream.run, stream=stream.name, data_key=stream.image.name, seq_num=seq_num
            )
            state = count_image(state, key)
            lost[stream.role] += frames_of(state, stream)
    out = (
        Missing(run=stream.run, role=role, count=count, reason=str(told["reason"]))
        for role, count in lost.items()
    )
    return state, tuple(out)
