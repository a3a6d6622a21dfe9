"""State of the assembler: plain, frozen data; no pixels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from ..frames import AssetRef, FrameKey, FrameRef, Rejected, Role
from .settings import AssembleSettings
from .values import Quantity

Delivery = Literal["unknown", "events", "fly"]
Ranges = tuple[tuple[int, int], ...]
"""Event numbers as sorted half-open ranges that do not touch."""

LARGEST_SEQ_NUM = 10**9
"""No scan has more events: by eye; a larger number is taken for a broken document."""

# Bounds of memory and of lines in logs, by eye.
_ORPHANS_KEPT = 1000
_LONGEST = 600  # characters
_LONGEST_TAG = 160  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageKey:
    """The data key of the images of a stream.

    Attributes
    ----------
    declared : (H, W) that the descriptor declares, None if it declares no usable one.
    per_event : images per event that the descriptor declares.
    streamed : the pixels are announced by stream_datum documents.
    """

    name: str
    declared: tuple[int, int] | None
    per_event: int
    streamed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EventContext:
    """Time, energy, exposure and role of the images of one event."""

    time: float
    energy: float | None
    exposure: float | None
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingImages:
    """Images of one event that a stream_datum announced before the event came."""

    seq_num: int
    asset: AssetRef


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamState:
    """One descriptor.

    Attributes
    ----------
    role : None if the images of this stream are not wanted.
    image : None until an image key is known.
    delivery : ``events`` if they follow the stream_datum documents, ``fly`` if none do; learned.
    held : frames that wait for their event, by rising seq_num.
    contexts : events whose stream_datum has not come yet, by seq_num.
    last_event : uid of the latest event, to know a repeated document.
    resource, last_number, carry : latest StreamResource, highest event number announced, and what
        is added to the numbers of that resource, because some writers count from 1 in every file.
    summary : keys and shapes in a few words, for `Declined`.
    """

    uid: str
    run: str
    name: str
    role: Role | None
    time: float
    image: ImageKey | None
    energy: Quantity | None
    exposure: Quantity | None
    delivery: Delivery = "unknown"
    held: tuple[PendingImages, ...] = ()
    contexts: Mapping[int, EventContext] = field(default_factory=dict)
    last_event: str = ""
    resource: str = ""
    last_number: int = 0
    carry: int = 0
    summary: str = ""

    def key(self, seq_num: int) -> FrameKey:
        """Return the address of the first image of an event."""
        name = "" if self.image is None else self.image.name
        return FrameKey(run=self.run, stream=self.name, data_key=name, seq_num=seq_num)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """One open run.

    Attributes
    ----------
    announced : images announced so far, accepted or rejected.
    energy : latest energy of a stream without images (baseline, monitor), eV.
    said : subjects of the notices given so far.
    notices : count of their causes, by kind.
    streams : one line per stream, for `Declined`.
    arrived : event numbers of the images announced, by stream.
    latest : latest time in its documents, s.
    opened, newest : count of all documents (`AssemblerState.count`) at its first and its last.
    """

    uid: str
    start: Mapping[str, Any]
    time: float
    announced: int = 0
    energy: float | None = None
    said: frozenset[str] = frozenset()
    notices: Mapping[str, int] = field(default_factory=dict)
    streams: tuple[str, ...] = ()
    arrived: Mapping[str, Ranges] = field(default_factory=dict)
    latest: float = float("-inf")
    opened: int = 0
    newest: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceState:
    """A Resource or StreamResource.

    Attributes
    ----------
    kind : mimetype or spec; uri : as the document gives it; data_key : "" for a Resource.
    """

    uid: str
    run: str
    kind: str
    uri: str
    parameters: Mapping[str, Any]
    data_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DatumState:
    """A Datum that events may name."""

    resource: str
    kwargs: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class AssemblerState:
    """Memory of the assembler; a checkpoint is this, serialised.

    Attributes
    ----------
    runs, streams, resources, datums : by uid (of run, descriptor, resource, datum).
    finished : uids of the latest ended runs, so that stragglers do not open them again.
    orphans : subjects of notices that belong to no known run.
    strays : documents that belong to no known run or could not be understood, by kind of notice.
    count : documents so far.
    """

    settings: AssembleSettings
    runs: Mapping[str, RunState] = field(default_factory=dict)
    streams: Mapping[str, StreamState] = field(default_factory=dict)
    resources: Mapping[str, ResourceState] = field(default_factory=dict)
    datums: Mapping[str, DatumState] = field(default_factory=dict)
    finished: tuple[str, ...] = ()
    orphans: tuple[str, ...] = ()
    strays: Mapping[str, int] = field(default_factory=dict)
    count: int = 0


def with_run(state: AssemblerState, run: RunState) -> AssemblerState:
    """Return `state` with `run` put in."""
    return replace(state, runs={**state.runs, run.uid: run})


def with_stream(state: AssemblerState, stream: StreamState) -> AssemblerState:
    """Return `state` with `stream` put in."""
    return replace(state, streams={**state.streams, stream.uid: stream})


def without(items: Mapping[str, Any], keys: set[str]) -> dict[str, Any]:
    """Return `items` less the `keys`."""
    return {k: v for k, v in items.items() if k not in keys}


# The outputs of the assembler.


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """A raw run opened; `start` is its start document (a stand-in if that was lost)."""

    run: str
    start: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStopped:
    """A raw run ended.

    Attributes
    ----------
    stop : its stop document, None if it never came.
    notices : count of causes of notices, by kind; a `Notice` is given for the first only.
    """

    run: str
    stop: Mapping[str, Any] | None
    notices: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Images of a run that are lost, reported when it ends or when they were dropped.

    Attributes
    ----------
    count : images. reason : never_arrived, no_descriptor if their descriptor was lost, or what the
        source says.
    """

    run: str
    role: Role
    count: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Declined:
    """A run that announced no image at all, with the reason in one line. At most one per run."""

    run: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Message to the operator, given once per run and subject.

    Attributes
    ----------
    run : uid of the raw run, "" if it is not known.
    kind : stable word: shape, image_key, energy_key, energy_unit, energy, exposure, time, role,
        orphan, malformed, duplicate, lost_event, no_stop, unknown_document.
    message : one line.
    """

    run: str
    kind: str
    message: str


Assembled: TypeAlias = RunStarted | FrameRef | Rejected | Declined | Notice | Missing | RunStopped
Outcome = tuple[AssemblerState, tuple[Assembled, ...]]


def notify(state: AssemblerState, run: str, kind: str, message: str, subject: str = "") -> Outcome:
    """Give a notice unless this run had one of this kind about this subject.

    Parameters
    ----------
    run : uid of an open run; of another or "": the notice belongs to no run.
    subject : distinguishes notices of one kind; one per kind where it is left out. All causes are
        counted.
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


def notify_all(state: AssemblerState, run: str, remarks: Iterable[tuple[str, str]]) -> Outcome:
    """Give several notices, (kind, message)."""
    out: tuple[Assembled, ...] = ()
    for kind, message in remarks:
        state, notices = notify(state, run, kind, message)
        out += notices
    return state, out


def added(ranges: Ranges, number: int) -> Ranges:
    """Return `ranges` with `number` in them."""
    if not ranges or number > ranges[-1][1]:
        return (*ranges, (number, number + 1))
    if number == ranges[-1][1]:
        return (*ranges[:-1], (ranges[-1][0], number + 1))
    if contains(ranges, number):
        return ranges
    before = tuple(r for r in ranges if r[1] < number)
    after = tuple(r for r in ranges if r[0] > number + 1)
    near = [r for r in ranges if r[1] == number or r[0] == number + 1]
    start = min((r[0] for r in near), default=number)
    stop = max((r[1] for r in near), default=number + 1)
    return (*before, (min(start, number), max(stop, number + 1)), *after)


def contains(ranges: Ranges, number: int) -> bool:
    """Tell whether a number is in one of the ranges."""
    return any(start <= number < stop for start, stop in reversed(ranges))
