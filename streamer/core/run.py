"""Everything that is remembered of raw runs between two documents.

It is frozen: a checkpoint is the `ProcessorState`, serialised.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import correct
from .advice import StageMove
from .advice.state import MOVES_STREAM
from .assemble.events import events_of_page
from .assemble.state import AssemblerState, Missing
from .assemble.values import MalformedDocument, number, optional_text, section
from .documents import OutputState
from .frames import Document, FrameRef, Role
from .pipeline.pipeline import PipelineState
from .pipeline.search import LadderState
from .quality import ArrivalState, SharpnessState
from .results import Ledger
from .xanes import XanesState

_UNNAMED = "run "


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionQueue:
    """Order of the final values of a run's frames.

    Attributes
    ----------
    open : frames that have a provisional value only, in their order.
    held : final values that have come before those of earlier frames.
    """

    open: tuple[int, ...] = ()
    held: Mapping[int, correct.Correction] = field(default_factory=dict)

    def put(
        self, corrections: Iterable[correct.Correction], max_hold: int
    ) -> tuple[RevisionQueue, list[correct.Correction]]:
        """Hold final values back until those of all earlier frames have come.

        Motion is followed from frame to frame: a final value that overtakes an earlier one would
        make displacement and path run backwards. An earlier frame is waited for only while it is
        less than `max_hold` frames behind, so that one lost flat does not stop the live values.

        Returns
        -------
        The queue after it, and the values that are due, in order.
        """
        waiting, held = list(self.open), dict(self.held)
        due: list[correct.Correction] = []
        for correction in corrections:
            if correction.revision > 0:
                held[correction.frame] = correction
                due += _release(waiting, held, max_hold)
                continue
            if not correction.final:
                waiting.append(correction.frame)
            due.append(correction)
        return RevisionQueue(open=tuple(waiting), held=held), due

    def rest(self) -> list[correct.Correction]:
        """Return what is still held, in frame order, as the run has stopped."""
        return [self.held[frame] for frame in sorted(self.held)]


def _release(
    waiting: list[int], held: dict[int, correct.Correction], max_hold: int
) -> list[correct.Correction]:
    """Take out the values that are due, and their frames."""
    due: list[correct.Correction] = []
    while held:
        frame = min(held)
        if waiting and waiting[0] < frame:
            nearest = max(w for w in waiting if w < frame)
            if frame - nearest <= max_hold:
                break
        due.append(held.pop(frame))
        if frame in waiting:
            waiting.remove(frame)
    return due


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """One raw run that is going on, and its result run.

    Attributes
    ----------
    sample : name under which identities are kept between runs.
    output : result run: what has been emitted, and the ledger.
    corrector, arrival, sharpness, xanes : states of correction, quality checks and spectra.
    revisions : order of final values.
    pipeline : state of linking and registration, None before the first frame.
    unread : images whose pixels could not be read yet and all that came after them, in order.
    missing : images that never came, known when the run ends.
    """

    sample: str
    output: OutputState
    corrector: correct.CorrectorState = field(default_factory=correct.init)
    arrival: ArrivalState = field(default_factory=ArrivalState)
    revisions: RevisionQueue = field(default_factory=RevisionQueue)
    sharpness: SharpnessState = field(default_factory=SharpnessState)
    pipeline: PipelineState | None = None
    xanes: XanesState = field(default_factory=XanesState)
    unread: tuple[FrameRef, ...] = ()
    missing: tuple[Missing, ...] = ()

    @property
    def ledger(self) -> Ledger:
        """Return what became of its frames so far."""
        return self.output.ledger

    def with_ledger(self, ledger: Ledger) -> RunState:
        """Return the run with another ledger."""
        return replace(self, output=replace(self.output, ledger=ledger))


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Particles of samples whose runs are over.

    Attributes
    ----------
    states : of the samples seen last, the latest at the end.
    next_ids : smallest identity that no particle of a sample has.
    """

    states: Mapping[str, PipelineState] = field(default_factory=dict)
    next_ids: Mapping[str, int] = field(default_factory=dict)

    def remember(self, sample: str, state: PipelineState, most: int) -> Samples:
        """Keep the particles of a run that is over, and those of the `most` latest samples."""
        states = {name: s for name, s in self.states.items() if name != sample} | {sample: state}
        oldest = list(states)[: max(len(states) - most, 0)]
        # of a sample without a name there is no other run
        gone = {name for name in oldest if name.startswith(_UNNAMED)}
        return Samples(
            states={name: s for name, s in states.items() if name not in oldest},
            next_ids={name: n for name, n in self.next_ids.items() if name not in gone},
        )


def sample_name(start: Mapping[str, Any], key: str) -> str:
    """Name the sample of a run; one that its start document does not name is the run's own."""
    sample = start.get(key)
    named = isinstance(sample, str | int | float | Mapping) and bool(sample)
    return str(sample) if named else f"{_UNNAMED}{start['uid']}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredImage:
    """An image that is kept for later.

    Attributes
    ----------
    run, frame : uid of the raw run, and number of the frame in it.
    image : (H, W) float32; None if it has spilled to disk.
    file : name of its file among those of the checkpoint, "" if it has not.
    """

    run: str
    frame: int
    image: NDArray[np.float32] | None = None
    file: str = ""


@dataclass(frozen=True, slots=True)
class RunLengths:
    """Labels (H, W) as runs of equal pixels, row by row.

    A hundredth of their size, and far faster than a general compression.

    Attributes
    ----------
    begins, values : where each run begins, and its label.
    shape : (H, W).
    """

    begins: NDArray[np.uint32]
    values: NDArray[np.int32]
    shape: tuple[int, int]

    @classmethod
    def of(cls, labels: NDArray[np.int32]) -> RunLengths:
        """Compress labels."""
        flat = labels.ravel()
        begins = np.append(0, np.flatnonzero(flat[1:] != flat[:-1]) + 1)
        height, width = labels.shape
        return cls(begins.astype(np.uint32), flat[begins], (height, width))

    def labels(self) -> NDArray[np.int32]:
        """Return the labels."""
        ends = np.append(self.begins[1:], self.shape[0] * self.shape[1])
        return np.repeat(self.values, ends - self.begins).reshape(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanMemory:
    """Frames that are kept for the second pass over their scans.

    Attributes
    ----------
    frames : `operando.streamer.io.checkpoint` bytes of each frame, by run and number.
    too_long : runs that have got too long for a second pass.
    images : optical density of these frames.
    """

    frames: Mapping[str, Mapping[int, bytes]] = field(default_factory=dict)
    too_long: frozenset[str] = frozenset()
    images: tuple[StoredImage, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorState:
    """Everything that the processor remembers between two documents.

    Attributes
    ----------
    assembler, ladder : states of assembling, and of choosing how to detect.
    starts : start documents of runs without an image so far, by uid.
    runs : runs that are going on, by uid.
    samples : particles of runs that are over.
    raw : images that may be needed again; filled for a checkpoint.
    scans : for the second pass; filled for a checkpoint.
    """

    assembler: AssemblerState
    ladder: LadderState
    starts: Mapping[str, Document] = field(default_factory=dict)
    runs: Mapping[str, RunState] = field(default_factory=dict)
    samples: Samples = field(default_factory=Samples)
    raw: tuple[StoredImage, ...] = ()
    scans: ScanMemory = field(default_factory=ScanMemory)

    def with_run(self, uid: str, run: RunState) -> ProcessorState:
        """Return the state with a run put in."""
        return replace(self, runs={**self.runs, uid: run})

    def without_run(self, uid: str) -> ProcessorState:
        """Return the state without a run."""
        runs = {u: run for u, run in self.runs.items() if u != uid}
        return replace(self, runs=runs, starts={u: s for u, s in self.starts.items() if u != uid})

    def announce(self, uid: str, role: Role, n: int = 1) -> ProcessorState:
        """Count announced images of a run."""
        run = self.runs[uid]
        return self.with_run(uid, run.with_ledger(run.ledger.announce(role, n)))

    def note(self, uid: str, kind: str) -> ProcessorState:
        """Count something odd in a run that cost no frame."""
        run = self.runs[uid]
        return self.with_run(uid, run.with_ledger(run.ledger.note(kind)))


def moves_of(state: AssemblerState, name: Any, doc: Any) -> Iterator[tuple[str, StageMove]]:
    """Find the moves of the stage that a feedback loop has recorded in a raw run.

    Parameters
    ----------
    state : knows the streams.
    name, doc : any document; nothing about it is taken for granted.

    Yields
    ------
    Uid of the raw run and the move.
    """
    if name not in ("event", "event_page") or not isinstance(doc, Mapping):
        return
    stream = state.streams.get(optional_text(doc, "descriptor"))
    if stream is None or stream.name != MOVES_STREAM:
        return
    try:
        events = [doc] if name == "event" else list(events_of_page(doc))
    except MalformedDocument:  # the assembler has said so
        return
    for event in events:
        move = _move(event)
        if move is not None:
            yield stream.run, move


def _move(event: Mapping[str, Any]) -> StageMove | None:
    data = {k.removeprefix(f"{MOVES_STREAM}_"): v for k, v in section(event, "data").items()}
    time = number(event.get("time"))
    if number(data.get("acted")) != 1 or time is None:
        return None
    known = (number(data.get(key)) for key in ("move_y", "move_x", "sigma"))
    y, x, sigma = (float("nan") if value is None else value for value in known)
    return StageMove(time=time, move=(y, x), sigma=sigma, reason=optional_text(data, "reason")[:40])
