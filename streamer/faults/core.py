"""Documents -> what arrives of them: `init`, `update` and `finish`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..assemble.values import optional_text
from ..frames import Document, NamedDocument
from .pages import split
from .script import FaultScript
from .sent import Sent
from .state import NEVER, FaultState
from .strike import Outcome, strike, strikes
from .subject import EVENTS, Subject, learn, subject_of


def init() -> FaultState:
    """State before the first document."""
    return FaultState()


def update(state: FaultState, script: FaultScript, name: str, doc: Document, at: float) -> Outcome:
    """Take one document.

    Parameters
    ----------
    state : what is known so far; not changed.
    script : what goes wrong.
    name, doc : the document; not changed.
    at : when it would arrive, s; must not fall from one document to the next.

    Returns
    -------
    state
    sent : what arrives from the document before until now, in order. A page of which a row is
        struck comes as pages of one row each.
    """
    known = {**state.streams, **learn(state.streams, name, doc)}
    state, out = _arrived(replace(state, streams=known), at)
    if name == "stop":
        state, rest = _overtaken(state, optional_text(doc, "run_start"), at)
        out += rest
    for part, row in _parts(state, script, name, doc):
        state, more = _one(state, script, part, row, at)
        out += more
    out = tuple(replace(s, at=max(s.at, state.clear)) for s in out)
    return replace(state, streams=learn(known, name, doc)), out


def finish(state: FaultState) -> Outcome:
    """Give out what is still on its way when no more documents come."""
    left = sorted(state.held, key=lambda held: held.due)
    return replace(state, held=()), tuple(held.sent for held in left)


def _arrived(state: FaultState, at: float) -> Outcome:
    """What is due by now."""
    ready = sorted((h for h in state.held if h.due <= at), key=lambda held: held.due)
    held = tuple(h for h in state.held if h.due > at)
    return replace(state, held=held), tuple(h.sent for h in ready)


def _overtaken(state: FaultState, run: str, at: float) -> Outcome:
    """What was overtaken by events arrives before the stop of its run at the latest."""
    ready = tuple(h for h in state.held if h.due == NEVER and h.run == run)
    held = tuple(h for h in state.held if not (h.due == NEVER and h.run == run))
    return replace(state, held=held), tuple(replace(h.sent, at=at) for h in ready)


def _parts(
    state: FaultState, script: FaultScript, name: str, doc: Document
) -> Sequence[NamedDocument]:
    """Rows of a page if a fault strikes one of them, or if they overtake something."""
    rows = split(name, doc)
    if len(rows) == 1:
        return [(name, doc)]
    subjects = [subject_of(state.streams, *row) for row in rows]
    struck = any(
        strikes(fault, subject, (script.seed, index))
        for subject in subjects
        for index, fault in enumerate(script.faults)
    )
    overtaking = any(h.stream == optional_text(doc, "descriptor") for h in state.held)
    return rows if struck or overtaking else [(name, doc)]


def _one(state: FaultState, script: FaultScript, name: str, doc: Document, at: float) -> Outcome:
    """Have the faults of the script strike one document; then what it has overtaken arrives."""
    subject, before = subject_of(state.streams, name, doc), len(state.held)
    out: tuple[Sent, ...] = (Sent(name=name, doc=doc, at=at),)
    for index, fault in enumerate(script.faults):
        seed = (script.seed, index)
        if not strikes(fault, subject, seed):
            continue
        struck: tuple[Sent, ...] = ()
        for sent in out:
            state, more = strike(state, fault, subject, sent, seed)
            struck += more
        out = struck
    state, overtaken = _passed(state, subject, before, at)
    return state, out + overtaken


def _passed(state: FaultState, subject: Subject, before: int, at: float) -> Outcome:
    """Let an event overtake the first `before` of the documents that are held, of its stream."""
    if subject.name not in EVENTS or subject.stream is None:
        return state, ()
    held, ready = [], []
    for index, item in enumerate(state.held):
        if index < before and item.left and item.stream == subject.stream.uid:
            item = replace(item, left=item.left - 1)
            (held if item.left else ready).append(item)
        else:
            held.append(item)
    return replace(state, held=tuple(held)), tuple(replace(h.sent, at=at) for h in ready)
