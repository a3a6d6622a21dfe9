"""Writes checkpoints of a processor, each when all results before it are safe.

A journal can be read again, results are addressed by their number, and a checkpoint on disk never
runs ahead of what the sinks have confirmed: so whatever was lost on the way to a sink when the
process was killed is computed again from the journal and written to the same place, once.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from ...streamer.errors import CheckpointError
from ...streamer.io.checkpoint import Blobs, Checkpoint, CheckpointFiles, decode, encode
from ...streamer.io.checkpoint.files import pack
from .protocols import ConfirmingSink

logger = logging.getLogger(__name__)
_COST_SHARE = 0.05
"""Share of the time that checkpoints may take."""

_POLL_S = 0.05


class Resumable(Protocol):
    """The part of a processor that a checkpointer needs."""

    @property
    def config_sha256(self) -> str:
        """Return the hash of settings and weights."""
        ...

    @property
    def open_runs(self) -> frozenset[str]:
        """Runs that have started and not stopped."""
        ...

    def snapshot(self, blobs: Blobs) -> Any:
        """State between two batches of documents."""
        ...

    def restore(self, state: Any, blobs: Blobs) -> None:
        """Go on from a snapshot."""
        ...


class PositionedSource(Protocol):
    """A source that can be read again from a position."""

    @property
    def position(self) -> int:
        """After the documents handed out so far."""
        ...

    def confirm(self, position: int) -> None:
        """Release everything before a position."""
        ...


@dataclass(frozen=True, slots=True)
class _Pending:
    """A checkpoint that waits for the sinks."""

    data: bytes
    position: int
    open_from: int
    marks: tuple[int, ...]
    blobs: frozenset[str]


class Checkpointer:
    """Keeps the checkpoint of a processor in a folder.

    Parameters
    ----------
    processor : whose state is kept.
    sinks : get its results.
    folder : for the checkpoint.
    target : where results go to; a checkpoint made for another place is not used.
    every : s between two checkpoints, at least.
    clock : monotonic clock, s.
    """

    def __init__(
        self,
        processor: Resumable,
        sinks: Sequence[ConfirmingSink],
        folder: Path,
        target: str = "",
        *,
        every: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._processor = processor
        self._sinks = tuple(sinks)
        self._files = CheckpointFiles(folder)
        self._blobs = Blobs(folder)
        self._made_for = hashlib.sha256(f"{processor.config_sha256} {target}".encode()).hexdigest()
        self._every = every
        self._clock = clock
        self._due = clock() + every
        self._opened: dict[str, int] = {}
        self._before = 0
        self._latest = -1
        self._pending: _Pending | None = None
        self._failed = False
        self.written = 0

    def resume(self, device: torch.device | str = "cpu") -> int | None:
        """Give the processor the state of the checkpoint.

        Returns
        -------
        Position of the journal from which to go on; None for its beginning.
        """
        try:
            checkpoint = self._files.read()
        except CheckpointError as error:
            self._files.discard()
            logger.error("%s; the journal is processed from its beginning", error)  # noqa: TRY400
            return None
        if checkpoint is None:
            return None
        if checkpoint.made_for != self._made_for:
            logger.warning(
                "the checkpoint was made with other settings or for another Tiled server: runs "
                "that were open are processed from their beginning"
            )
            return checkpoint.open_from
        try:
            state = decode(checkpoint.state, device, self._blobs)
        except CheckpointError as error:
            self._files.discard()
            logger.error(  # noqa: TRY400
                "%s; runs that were open are processed from their beginning", error
            )
            return checkpoint.open_from
        self._processor.restore(state["processor"], self._blobs)
        self._opened, self._before = state["opened"], checkpoint.position
        self._latest = checkpoint.position
        logger.info("goes on from a checkpoint with %d open runs", len(self._opened))
        return checkpoint.position

    def step(self, log: PositionedSource) -> None:
        """Do what is due; call it whenever the processor is between two batches."""
        self._note_runs(log.position)
        self._commit(log)
        if self._pending is None and self._clock() >= self._due and log.position != self._latest:
            self._take(log.position)
            self._commit(log)

    def finish(self, log: PositionedSource, timeout: float) -> bool:
        """Write a last checkpoint, of all that was processed; False if it was not confirmed.

        Parameters
        ----------
        timeout : longest wait for the sinks, s.
        """
        self._note_runs(log.position)
        deadline = self._clock() + timeout
        while self._clock() < deadline and not self._failed:
            self._commit(log)
            if self._pending is None:
                if self._latest == log.position:
                    return True
                self._take(log.position)
            else:
                time.sleep(_POLL_S)
        return False

    def _note_runs(self, position: int) -> None:
        """Remember from where on each open run would have to be read again."""
        runs = self._processor.open_runs
        self._opened = {uid: self._opened.get(uid, self._before) for uid in runs}
        self._before = position

    def _take(self, position: int) -> None:
        began = self._clock()
        try:
            self._blobs.begin()
            state = {"processor": self._processor.snapshot(self._blobs), "opened": self._opened}
            tree = encode(state, self._blobs)
            blobs = self._blobs.end()
            open_from = min(self._opened.values(), default=position)
            data = pack(
                Checkpoint(
                    position=position, open_from=open_from, made_for=self._made_for, state=tree
                )
            )
        except (CheckpointError, OSError) as error:
            self._fail(error)
        else:
            marks = tuple(sink.received for sink in self._sinks)
            self._pending = _Pending(data, position, open_from, marks, blobs)
        cost = self._clock() - began
        self._due = self._clock() + max(self._every, cost / _COST_SHARE)

    def _commit(self, log: PositionedSource) -> None:
        pending = self._pending
        if pending is None:
            return
        marks = zip(self._sinks, pending.marks, strict=True)
        if not all(sink.confirmed >= mark for sink, mark in marks):
            return
        try:
            self._files.write(pending.data)
        except OSError as error:
            self._fail(error)
        else:
            self.written += 1
            self._failed = False
            self._latest = pending.position
            self._blobs.keep_only(pending.blobs)
            log.confirm(pending.open_from)
        self._pending = None

    def _fail(self, error: Exception) -> None:
        """Go on without: the journal keeps what a later checkpoint or a restart needs."""
        if not self._failed:
            logger.error("no checkpoint can be written: %s; the journal is kept", error)
        self._failed = True
