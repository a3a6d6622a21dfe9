"""A live service behind a journal: after a crash it goes on as if there had been none."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path

from ...callbacks.checkpointer import Checkpointer, Confirming
from ...callbacks.processor import StreamProcessor
from ...callbacks.summary import ResultSummary
from ..backfill import Backfill, Backfilled, make_provider
from ..config import Settings
from ..journal.folder import JournalFolder
from ..journal.start import KeptJournal
from ..service import Processor, Service
from ..sources.journal import JournalSource
from ..sources.settings import JournalSourceSettings
from .live import Connection, follow
from .terminal import say

logger = logging.getLogger(__name__)

_CONFIRM_S = 60.0


def follow_journal(
    parts: tuple[StreamProcessor, ResultSummary, Sequence[Confirming]],
    settings: Settings,
    place: tuple[Path, str, str],
    stop: threading.Event,
    *,
    backfill: Sequence[str] = (),
    options: Sequence[str] = (),
) -> None:
    """Process what the keeper of a journal receives, until told to stop.

    Parameters
    ----------
    parts : processor, its summary, and those of its sinks that confirm.
    place : folder of the journal, address of the 0MQ proxy, and where the results go to.
    backfill : places that have documents which were missed.
    options : further options of the keeper.

    Raises
    ------
    JournalError
        The keeper cannot be started, or the journal is in use.
    """
    processor, summary, sinks = parts
    folder, zmq, target = place
    kept = KeptJournal(folder, zmq, options)
    try:
        checkpointer = Checkpointer(
            processor,
            sinks,
            folder / "checkpoint",
            target,
            every=settings.journal.checkpoint_s,
        )
        position = checkpointer.resume()
        with _source(folder, position) as source:
            _tell_start(source, position)
            stage = with_backfill(processor, backfill)

            def after() -> None:
                checkpointer.step(source)
                kept.check()

            service = Service(source, stage, after=after)
            follow(service, summary, stop, Connection(source, zmq))
            say("writing the checkpoint from which the next start goes on")
            if not checkpointer.finish(source, _CONFIRM_S):
                say(
                    "results were not confirmed in time: the next start computes them again from "
                    "the journal",
                    "yellow",
                )
    finally:
        kept.end()


def with_backfill(processor: StreamProcessor, places: Sequence[str]) -> Processor:
    """Put a stage that fetches missed documents before a processor, if there are places for it."""
    if not places:
        return processor
    return Backfilled(
        processor, Backfill([make_provider(p) for p in places], processor.known_streams)
    )


def _source(folder: Path, position: int | None) -> JournalSource:
    """The journal from a position on, from its oldest document if that is gone."""
    oldest = next(iter(JournalFolder(folder).segments()), 0)
    if position is not None and position < oldest:
        logger.error("the journal does not reach back to the checkpoint; starting at its oldest")
        position = None
    return JournalSource(JournalSourceSettings(folder=folder, position=position))


def _tell_start(source: JournalSource, position: int | None) -> None:
    behind = source.behind / 1e6
    if position is None and behind < 0.001:
        return
    begin = "from the beginning of the journal" if position is None else "from the checkpoint"
    say(f"going on {begin}: {behind:.1f} MB of documents to catch up with")
