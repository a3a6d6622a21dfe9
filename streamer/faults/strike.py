"""What one fault makes of one document."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import replace

from ..codec import BadMessageError
from .content import changed
from .damage import damaged
from .pages import with_uid
from .script import Corrupt, Delay, Drop, Duplicate, Fault, LateStart, MissingStop, Reorder
from .sent import Sent
from .state import FaultState, Held, counted
from .subject import EVENTS, Subject

Outcome = tuple[FaultState, tuple[Sent, ...]]
_TO_STRIKE, _TO_DRAW = 0, 1


def strikes(fault: Fault, subject: Subject, seed: tuple[int, int]) -> bool:
    """Whether a fault is meant for a document, and strikes it.

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


def strike(
    state: FaultState, fault: Fault, subject: Subject, sent: Sent, seed: tuple[int, int]
) -> Outcome:
    """Have a fault strike a document that is meant; see `strikes`.

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
    return subject.name in names and (not subject.of_stream or _in_range(fault, subject))


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


def _held(subject: Subject, sent: Sent, left: int = 0) -> Held:
    stream = "" if subject.stream is None else subject.stream.uid
    return Held(sent=sent, run=subject.run, stream=stream, left=left)


def _hold(state: FaultState, kind: str, held: Held) -> FaultState:
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
    if isinstance(fault, Corrupt):
        try:
            spoilt = replace(sent, message=damaged(fault, sent.name, sent.doc, rng))
        except BadMessageError:  # no stock publisher could have sent it either
            return counted(state, "impossible", fault.kind), (sent,)
        return counted(state, "injected", fault.kind), (spoilt,)
    doc = changed(fault, subject, sent.doc, rng)  # pyright: ignore[reportArgumentType] - all others
    if doc is None:
        return counted(state, "impossible", fault.kind), (sent,)
    return counted(state, "injected", fault.kind), (replace(sent, doc=doc),)
