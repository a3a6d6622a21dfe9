"""A live service behind a journal: after a crash it goes on as if there had been none."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ...callbacks.checkpointer import Checkpointer, Confirming, Resumable
from ..journal.settings import JournalSettings
from ..journal.start import KeptJournal
from ..operation.families import Family
from ..operation.health import Finding
from ..operation.monitor import Monitor
from ..sources.journal import JournalSource
from .terminal import say

logger = logging.getLogger(__name__)

_CONFIRM_S = 60.0


@dataclass(frozen=True, slots=True)
class JournalCounts:
    """Numbers of a journal, for metrics.

    Attributes
    ----------
    checkpoints : written since the start.
    """

    checkpoints: int


class Journalled:
    """Starts the keeper, resumes from the checkpoint, and writes the next ones.

    Parameters
    ----------
    source : reads the journal; not opened yet.
    processor : goes on from the checkpoint.
    sinks : confirm what is safe.
    settings : of the journal.
    place : folder of the journal, address of the 0MQ proxy, and where the results go to.
    options : further options of the keeper.

    Raises
    ------
    JournalError
        On entering, if the keeper cannot be started, or the journal is in use.
    """

    def __init__(
        self,
        source: JournalSource,
        processor: Resumable,
        sinks: Sequence[Confirming],
        settings: JournalSettings,
        place: tuple[Path, str, str],
        options: Sequence[str] = (),
    ) -> None:
        self.source = source
        self._folder, self._zmq, target = place
        self._options = options
        self._checkpointer = Checkpointer(
            processor, sinks, self._folder / "checkpoint", target, every=settings.checkpoint_s
        )
        self._kept: KeptJournal | None = None

    def __enter__(self) -> Self:
        """Start, and go on where the last one ended."""
        self._kept = KeptJournal(self._folder, self._zmq, self._options)
        try:
            position = self._checkpointer.resume()
            self.source.start_at(position)
            self.source.__enter__()
        except BaseException:
            self._kept.end()
            raise
        self._tell_start(position)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Write the last checkpoint, if all went well, and end the keeper."""
        try:
            if kind is None:
                self._finish()
        finally:
            self.source.__exit__()
            assert self._kept is not None
            self._kept.end()

    def after_step(self) -> None:
        """Do what is due between two batches of documents."""
        self._checkpointer.step(self.source)
        if self._kept is not None:
            self._kept.check()

    @property
    def counts(self) -> JournalCounts:
        """What was done so far."""
        return JournalCounts(self._checkpointer.written)

    def _tell_start(self, position: int | None) -> None:
        behind = self.source.behind / 1e6
        if position is None and behind < 0.001:
            return
        begin = "from the beginning of the journal" if position is None else "from the checkpoint"
        say(f"going on {begin}: {behind:.1f} MB of documents to catch up with")

    def _finish(self) -> None:
        say("writing the checkpoint from which the next start goes on")
        if not self._checkpointer.finish(self.source, _CONFIRM_S):
            say(
                "results were not confirmed in time: the next start computes them again from the "
                "journal",
                "yellow",
            )


def watch_journal(monitor: Monitor, journal: Journalled) -> None:
    """Have the monitor tell whether the journal is kept, and how far processing is behind it."""
    source = journal.source

    def check() -> Finding:
        kept = source.wait_ready(0)
        return Finding(kept, {"kept": kept, "state": source.status, "behind_bytes": source.behind})

    behind = Family(
        name="operando_journal_behind_bytes",
        help="Bytes of the journal that were not processed yet",
        read=lambda: float(source.behind),
    )
    monitor.add_part("journal", [lambda: journal.counts], [behind], check)
