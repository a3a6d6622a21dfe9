"""Notices that are given once per run and subject, however often their cause comes back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from .outputs import Assembled, Notice
from .state import AssemblerState, with_run

_ORPHANS_KEPT = 1000
_LONGEST = 600
_LONGEST_TAG = 160


def say(
    state: AssemblerState, run: str, kind: str, message: str, subject: str = ""
) -> tuple[AssemblerState, tuple[Assembled, ...]]:
    """Give a notice unless this run had one of this kind about this subject.

    Parameters
    ----------
    run : uid of an open run; of another or "": the notice belongs to no run.
    subject : what it is about; one notice per kind where it is left out. All are counted.
    """
    tag = f"{kind}:{subject}"[:_LONGEST_TAG]  # what it is about may be megabytes long
    known = state.runs.get(run)
    if known is not None:
        notices = {**known.notices, kind: known.notices.get(kind, 0) + 1}
        state = with_run(state, replace(known, notices=notices, said=known.said | {tag}))
        if tag in known.said:
            return state, ()
    else:
        state = replace(state, strays={**state.strays, kind: state.strays.get(kind, 0) + 1})
        if tag in state.orphans:
            return state, ()
        state = replace(state, orphans=(*state.orphans, tag)[-_ORPHANS_KEPT:])
    shown = message if len(message) <= _LONGEST else message[: _LONGEST - 3] + "..."
    return state, (Notice(run=run, kind=kind, message=shown),)


def say_all(
    state: AssemblerState, run: str, remarks: Iterable[tuple[str, str]]
) -> tuple[AssemblerState, tuple[Assembled, ...]]:
    """Give several notices, (kind, message)."""
    out: tuple[Assembled, ...] = ()
    for kind, message in remarks:
        state, said = say(state, run, kind, message)
        out += said
    return state, out
