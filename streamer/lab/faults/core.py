"""Break documents after a script: `init`, `update` and `finish`, and an injector for recordings."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from ...core.assemble.values import optional_text
from ...core.frames import Document, NamedDocument
from ...io.recording.dialects import Recorded
from ...io.recording.replay import Delivered, document_time
from ...io.wire.codec import BadMessageError
from .content import ImageFault, changed, damaged
from .script import (
    Corrupt,
    Delay,
    Drop,
    Duplicate,
    EnergyJump,
    Fault,
    FaultScript,
    LateStart,
    MissingStop,
    Reorder,
)
from .state import (
    EVENTS,
    NEVER,
    OF_STREAMS,
    DelayedDocument,
    FaultState,
    Sent,
    Subject,
    counted,
    learn,
    split,
    subject_of,
    summary_lines,
    with_uid,
)

Outcome = tuple[FaultState, tuple[Sent, ...]]
_TO_STRIKE, _TO_DRAW = 0, 1


def init() -> FaultState:
    """Return the state before the first document."""
    return FaultState()


def update(state: FaultState, script: FaultScript, name: str, doc: Document, at: float) -> Outcome:
    """Take one document.

    Parameters
    ----------
    state : what is known so far; not changed.
    script : what goes wrong.
    name, doc : the document; not changed.
    at : time of arrival without faults, s; must not fall from one document to the next.

    Returns
    -------
    state
    sent : what arrives from the document before until now, in order. A page of which a row is
        struck comes as pages of one row each.
    """
    known = {**state.streams, **learn(state.streams, name, doc)}
    due = sorted((h for h in state.held if h.due <= at), key=lambda held: held.due)
    held = tuple(h for h in state.held if h.due > at)
    out = tuple(h.sent for h in due)
    if name == "stop":  # what was overtaken by events arrives before it at the latest
        run = optional_text(doc, "run_start")
        out += tuple(replace(h.sent, at=at) for h in held if h.due == NEVER and h.run == run)
        held = tuple(h for h in held if not (h.due == NEVER and h.run == run))
    state = replace(state, streams=known, held=held)
    for part, row in _parts(state, script, name, doc):
        state, more = _one(state, script, part, row, at)
        out += more
    out = tuple(replace(s, at=max(s.at, state.clear)) for s in out)
    return replace(state, streams=learn(known, name, doc)), out


def finish(state: FaultState) -> Outcome:
    """Give out what is still on its way when no more documents come."""
    left = sorted(state.held, key=lambda held: held.due)
    return replace(state, held=()), tuple(held.sent for held in left)


class FaultInjector:
    """Break recordings after a script; the same way each time.

    Parameters
    ----------
    script : of the faults.

    Attributes
    ----------
    state : after the last document.
    """

    def __init__(self, script: FaultScript) -> None:
        self.script = script
        self.state = init()

    def __call__(self, documents: Iterable[Recorded]) -> Iterator[Recorded]:
        """Yield what arrives of a recording; gaps between times of arrival are those recorded."""
        at = 0.0
        for item in documents:
            arrival = document_time(item.doc) if item.arrival is None else item.arrival
            at = at if arrival is None else max(at, arrival)
            self.state, sent = update(self.state, self.script, item.name, item.doc, at)
            yield from map(_delivered, sent)
        self.state, sent = finish(self.state)
        yield from map(_delivered, sent)

    def summary(self) -> list[str]:
        """List what was injected, a line each."""
        return summary_lines(self.state, self.script)


def _delivered(sent: Sent) -> Delivered:
    return Delivered(sent.name, sent.doc, sent.at, sent.message or None)


def _parts(
    state: FaultState, script: FaultScript, name: str, doc: Document
) -> Sequence[NamedDocument]:
    """Split a page into rows if a fault strikes one of them, or if they overtake something."""
    rows = split(name, doc)
    if len(rows) == 1:
        return [(name, doc)]
    subjects = [subject_of(state.streams, *row) for row in rows]
    struck = any(
        _strikes(fault, subject, (script.seed, index))
        for subject in subjects
        for index, fault in enumerate(script.faults)
    )
    overtaking = any(h.stream == optional_text(doc, "descriptor") for h in state.held)
    return rows if struck or overtaking else [(name, doc)]


def _one(state: FaultState, script: FaultScript, name: str, doc: Document, at: float) -> Outcome:
    """Strike one document with the faults of the script; then what it has overtaken arrives."""
    subject, before = subject_of(state.streams, name, doc), len(state.held)
    out: tuple[Sent, ...] = (Sent(name=name, doc=doc, at=at),)
    for index, fault in enumerate(script.faults):
        seed = (script.seed, index)
        if not _strikes(fault, subject, seed):
            continue
        struck: tuple[Sent, ...] = ()
        for sent in out:
            state, more = _strike(state, fault, subject, sent, seed)
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


def _strikes(fault: Fault, subject: Subject, seed: tuple[int, int]) -> bool:
    """Tell whether a fault is meant for a document, and strikes it.

    Parameters
    ----------
    seed : that of the script, and the place of the fault in it.
    """
    if not _meant(fault, subject):
        return False
    if fault.probability >= 1:
        return True
    if isinstance(fault, LateStart):  # a run as a whole is joined late, or is not
        subject = Subject(name="", run=subject.run, stream=None, seq_num=None, uid="")
    return bool(subject.draws(*seed, _TO_STRIKE).random() < fault.probability)


def _strike(
    state: FaultState, fault: Fault, subject: Subject, sent: Sent, seed: tuple[int, int]
) -> Outcome:
    """Strike a document that a fault is meant for; see `_strikes`.

    Returns
    -------
    state
    sent : what arrives in its place, as far as nothing else holds it up.
    """
    match fault:
        case Drop() | MissingStop():
            return counted(state, "injected", fault.kind), ()
        case Duplicate():
            copies = tuple(_copy(fault, sent, number) for number in range(fault.copies))
            return counted(state, "injected", fault.kind, len(copies)), (sent, *copies)
        case Reorder():
            return _hold(state, fault.kind, _held(subject, sent, left=fault.by)), ()
        case Delay(hold_up=True):
            clear = max(state.clear, sent.at + fault.seconds)
            return replace(counted(state, "injected", fault.kind), clear=clear), (sent,)
        case Delay():
            late = replace(sent, at=sent.at + fault.seconds)
            return _hold(state, fault.kind, replace(_held(subject, late), due=late.at)), ()
        case LateStart():
            return _late(state, fault, subject, sent, seed[1])
        case _:
            return _spoil(state, fault, subject, sent, seed)


def _meant(fault: Fault, subject: Subject) -> bool:
    if isinstance(fault, LateStart):
        return bool(subject.run)
    if isinstance(fault, MissingStop):
        return subject.name == "stop"
    names = fault.documents if isinstance(fault, Drop | Duplicate | Delay | Corrupt) else EVENTS
    return subject.name in names and (subject.name not in OF_STREAMS or _in_range(fault, subject))


def _in_range(fault: Fault, subject: Subject) -> bool:
    name = "" if subject.stream is None else subject.stream.name
    if fault.stream is not None and name != fault.stream:
        return False
    if fault.seq_num is None or subject.name == "descriptor":
        return True
    return subject.seq_num is not None and fault.seq_num[0] <= subject.seq_num <= fault.seq_num[1]


def _copy(fault: Duplicate, sent: Sent, number: int) -> Sent:
    if not fault.new_uid:
        return sent
    digest = hashlib.sha256(f"{sent.doc.get('uid')}\x1f{number}".encode()).digest()
    uid = str(uuid.UUID(bytes=digest[:16], version=4))
    return replace(sent, doc=with_uid(sent.name, sent.doc, uid))


def _held(subject: Subject, sent: Sent, left: int = 0) -> DelayedDocument:
    stream = "" if subject.stream is None else subject.stream.uid
    return DelayedDocument(sent=sent, run=subject.run, stream=stream, left=left)


def _hold(state: FaultState, kind: str, held: DelayedDocument) -> FaultState:
    return replace(counted(state, "injected", kind), held=(*state.held, held))


def _late(state: FaultState, fault: LateStart, subject: Subject, sent: Sent, index: int) -> Outcome:
    if (index, subject.run) in state.joined:
        return state, (sent,)
    of_stream = subject.stream is not None and subject.stream.name == fault.stream
    if subject.name in EVENTS and of_stream and (subject.seq_num or 0) >= fault.first_seq_num:
        return replace(state, joined=state.joined | {(index, subject.run)}), (sent,)
    if subject.name in fault.keep:
        return state, (sent,)
    return counted(state, "injected", fault.kind), ()


def _spoil(
    state: FaultState, fault: Fault, subject: Subject, sent: Sent, seed: tuple[int, int]
) -> Outcome:
    """Change what is in a document, or damage its message."""
    rng = subject.draws(*seed, _TO_DRAW)
    spoilt: Sent | None = None
    if isinstance(fault, Corrupt):
        with suppress(BadMessageError):  # no stock publisher could have sent it either
            spoilt = replace(sent, message=damaged(fault, sent.name, sent.doc, rng))
    elif isinstance(fault, EnergyJump | ImageFault):
        doc = changed(fault, subject, sent.doc, rng)
        spoilt = None if doc is None else replace(sent, doc=doc)
    if spoilt is None:
        return counted(state, "impossible", fault.kind), (sent,)
    return counted(state, "injected", fault.kind), (spoilt,)
