"""End of runs: stops that come or never come, and images that were sent and never arrive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..frames import Role
from .events import release_held
from .references import count_image
from .state import (
    LARGEST_SEQ_NUM,
    Assembled,
    AssemblerState,
    Declined,
    Missing,
    Outcome,
    Ranges,
    RunState,
    RunStopped,
    StreamState,
    contains,
    notify,
    without,
)
from .values import integer, number, section, text

_FINISHED_KEPT = 100  # by eye: stragglers of older runs open a run without its start


def on_stop(state: AssemblerState, doc: Mapping[str, Any]) -> Outcome:
    """End the run of a stop document, and older ones whose stop was lost."""
    run = text(doc, "run_start")
    if run not in state.runs:
        message = f"stop of run {run[:80]!r}, which is not open"
        return notify(state, "", "orphan", message, f"stop:{run}")
    out: list[Assembled] = []
    for stale in _stale_runs(state, state.runs[run], doc):
        message = "it is ended without its stop document, as a newer run has been stopped"
        state, more = notify(state, stale, "no_stop", f"{message} (assemble.stale_run_s)")
        state, ended = end_run(state, stale)
        out += more + ended
    state, ended = end_run(state, run, doc)
    return state, (*out, *ended)


def end_run(state: AssemblerState, run: str, stop: Mapping[str, Any] | None = None) -> Outcome:
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
    missing = _missing(state, known, stop)
    out += missing
    if known.announced == 0 and not missing:
        out.append(Declined(run=run, reason=_why_declined(state, known)))
    out.append(RunStopped(run=run, stop=stop, notices=known.notices))
    return _forget(state, run), tuple(out)


def _why_declined(state: AssemblerState, run: RunState) -> str:
    """Return the reason for which a run gives no frames, in one line."""
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


def _stale_runs(state: AssemblerState, run: RunState, stop: Mapping[str, Any]) -> list[str]:
    """Return uids of open runs that will not get their stop, as the stop of a newer run shows.

    Runs may be interleaved, and one may be silent while another is going on. So a run is stale
    only when a run with images that began after its last document has been stopped, and when that
    was `stale_run_s` of data time after its last document. No clock is asked: a replay ends the
    same runs at the same place.
    """
    patience = state.settings.stale_run_s
    if patience is None or not run.announced:
        return []
    stopped = number(stop.get("time"))
    now = run.latest if stopped is None else stopped
    return [
        other.uid
        for other in state.runs.values()
        if other.uid != run.uid
        and other.newest < run.opened
        and now - max(other.latest, other.time) > patience
    ]


def _missing(
    state: AssemblerState, run: RunState, stop: Mapping[str, Any] | None
) -> tuple[Missing, ...]:
    """Count the images that were sent in a run and never came.

    The stop document says how many events each stream had; without one, or if it says less than
    has come, the highest event number does. A stream that brought no image and whose descriptor
    was lost is taken for one of images if its name is that of sample images and others of the run
    have come.
    """
    sent = {name: _count(n) for name, n in section(stop or {}, "num_events").items()}
    streams = {s.name: s for s in state.streams.values() if s.run == run.uid}
    out = []
    for name, stream in streams.items():
        if stream.role is not None and stream.image is not None:
            count = _absent(run.arrived.get(name, ()), sent.get(name)) * _frames_per_event(
                state, stream
            )
            out.append(Missing(run=run.uid, role=stream.role, count=count, reason="never_arrived"))
    for name, count in sent.items():
        role = state.settings.streams.role_of(name)
        if name not in streams and role is Role.SAMPLE and run.announced and count:
            out.append(Missing(run=run.uid, role=role, count=count, reason="no_descriptor"))
    if not run.announced and all(item.role is not Role.SAMPLE for item in out if item.count):
        return ()  # there is nothing to account for
    return tuple(item for item in out if item.count > 0)


def _count(value: Any) -> int | None:
    """Read a count of events of a stop document; None for one that no scan could have."""
    count = integer(value)
    return count if count is not None and 0 <= count <= LARGEST_SEQ_NUM else None


def _absent(arrived: Ranges, sent: int | None) -> int:
    count = sum(stop - start for start, stop in arrived)
    if sent is None or sent < count:
        sent = arrived[-1][1] - 1 if arrived else 0
    return max(sent - count, 0)


def _frames_per_event(state: AssemblerState, stream: StreamState) -> int:
    """Return the number of frames that an event of a stream stands for."""
    split = state.settings.chunk == "split"
    return stream.image.per_event if split and stream.image is not None else 1


def count_dropped(state: AssemblerState, dropped: Mapping[str, Any]) -> Outcome:
    """Count images of events that the source dropped.

    Parameters
    ----------
    dropped : their ``descriptor``, ``seq_nums`` as ranges of first and last, and the ``reason``,
        see `streamer.io.wire`. Pixels that lie in files are announced otherwise, and lost only if
        those documents are.
    """
    stream = state.streams.get(dropped["descriptor"])
    if stream is None or stream.role is None or stream.image is None or stream.image.streamed:
        return state, ()
    count = 0
    for first, last in dropped["seq_nums"]:
        for seq_num in range(first, last + 1):
            if contains(state.runs[stream.run].arrived.get(stream.name, ()), seq_num):
                continue  # another copy of the event has come
            state = count_image(state, stream.key(seq_num))
            count += _frames_per_event(state, stream)
    if not count:
        return state, ()
    reason = str(dropped["reason"])
    return state, (Missing(run=stream.run, role=stream.role, count=count, reason=reason),)
