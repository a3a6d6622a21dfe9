"""Runs whose stop document was lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .state import AssemblerState, RunState, with_run
from .values import number, sequence


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
