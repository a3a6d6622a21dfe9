"""The parts of ``operando process``, put together: source, monitor, processor, sinks, journal."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ...callbacks.processor.processor import StreamProcessor
from ...callbacks.sinks.checkpointer import Checkpointer, Confirming, Resumable
from ...callbacks.stock import ResultSummary
from ..config import Settings
from ..errors import ConfigError
from ..io.journal.settings import JournalSettings
from ..io.recording.writer import RecordingWriter
from ..io.sources import Source, make_source
from ..io.sources.journal import JournalSource
from ..service.backfill import Backfill, Backfilled, make_provider
from ..service.keeper import JournalSupervisor
from ..service.operation.metrics import Family
from ..service.operation.monitor import CheckResult, Monitor
from ..service.operation.systemd import notify
from ..service.service import Processor, Service
from .monitoring import watch
from .network import listening_with
from .outputs import Outlet, processor_with_sinks, publishing, serving_variables
from .progress import Connection, follow, show_ended
from .terminal import end_after, say

logger = logging.getLogger(__name__)
_CONFIRM_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """Where documents come from, and what is kept of them.

    Attributes
    ----------
    address : out side of the 0MQ proxy. keys : folder with CURVE keys, if it wants some.
    profile : for the keeper of the journal.
    queue_bytes : of documents that may wait in memory, if there is no journal.
    record : folder for recordings. journal : folder of the journal.
    backfill : places that have documents which were missed.
    """

    address: str
    keys: Path | None
    profile: str | None
    queue_bytes: int
    record: Path | None
    journal: Path | None
    backfill: tuple[str, ...]


class LiveService:
    """What follows a beamline.

    Parameters
    ----------
    feed : where documents come from.
    settings : of the processor.
    tiled : address of the server, if results go to one. frames_dir : see the command.
    stuck_after : s without a sign of life after which it is told to be stuck.
    publish : in side of a proxy that gets the results without their images.

    Raises
    ------
    ConfigError
        The parts do not fit together.
    """

    def __init__(
        self,
        feed: Feed,
        settings: Settings,
        tiled: str | None,
        frames_dir: Path | None,
        stuck_after: float,
        publish: Outlet | None = None,
    ) -> None:
        if feed.journal is not None and feed.record is not None:
            raise ConfigError(
                "--journal keeps the raw documents already: leave --record out, and make a "
                "recording of the journal with operando replay when one is wanted"
            )
        self._feed = feed
        self._settings = settings
        self._tiled = tiled
        self._frames_dir = frames_dir
        self._publish = publish
        self._source = self._make_source()
        self._monitor = Monitor(self._source, stuck_after)

    def run(
        self,
        stop: threading.Event,
        http: tuple[str, int] | None = None,
        runs: int = 0,
        epics: str | None = None,
    ) -> int:
        """Follow until told to stop, or until so many runs have ended.

        Parameters
        ----------
        http : where health and metrics are served.
        runs : 0 for no end.
        epics : prefix of process variables, None for none.

        Returns
        -------
        Documents that were dropped for want of room.
        """
        resumable = self._feed.journal is not None
        with (
            self._monitor.serving(http) as server,
            processor_with_sinks(
                self._settings, self._tiled, self._frames_dir, resumable=resumable
            ) as (processor, summary, sink),
            publishing(processor, self._publish),
        ):
            watched = watch(self._monitor, processor, self._settings, (self._tiled, sink))
            if runs:
                processor.subscribe(end_after(runs, stop), "stop")
            if server is not None:
                say(f"health and metrics at http://{server.host_and_port}")
            with serving_variables(epics, processor, self._monitor):
                if isinstance(self._source, JournalSource):
                    self._follow_journal(self._source, (processor, summary, sink), watched, stop)
                else:
                    self._follow(processor, summary, watched, stop)
        return self._source.counters().dropped

    def _make_source(self) -> Source:
        feed = self._feed
        if feed.journal is not None:
            return make_source("journal", folder=feed.journal)
        return make_source(
            "zmq", address=feed.address, max_bytes=feed.queue_bytes, **listening_with(feed.keys)
        )

    def _follow(
        self,
        processor: StreamProcessor,
        summary: ResultSummary,
        watched: Processor,
        stop: threading.Event,
    ) -> None:
        with self._source, _recorder(self._feed.record) as recorder:
            raw = recorder.write if recorder is not None else None
            stage = _with_backfill(watched, processor, self._feed.backfill)
            self._turn(Service(self._source, stage, raw=raw), summary, stop)
        ended = {uid: run for uid, run in summary.runs.items() if run.stop is not None}
        watched.close()  # ends runs that have no stop document
        show_ended(summary, ended)

    def _follow_journal(
        self,
        source: JournalSource,
        results: tuple[StreamProcessor, ResultSummary, Any],
        watched: Processor,
        stop: threading.Event,
    ) -> None:
        processor, summary, sink = results
        folder = self._feed.journal
        assert folder is not None
        sinks = () if sink is None else (sink,)
        with Journalled(
            source,
            processor,
            sinks,
            self._settings.journal,
            (folder, self._feed.address, self._tiled or ""),
            self._keeper_options(),
        ) as journal:
            watch_journal(self._monitor, journal)
            stage = _with_backfill(watched, processor, self._feed.backfill)
            self._turn(Service(source, stage, after=journal.after_step), summary, stop)

    def _turn(self, service: Service, summary: ResultSummary, stop: threading.Event) -> None:
        notify("READY=1")
        connection = Connection(self._source, self._feed.address)
        follow(service, summary, stop, connection, self._monitor.heartbeat.beat)

    def _keeper_options(self) -> list[str]:
        options = ["--profile", self._feed.profile] if self._feed.profile else []
        return options + (["--keys", str(self._feed.keys)] if self._feed.keys else [])


def _with_backfill(
    watched: Processor, processor: StreamProcessor, places: tuple[str, ...]
) -> Processor:
    """Put a stage that fetches missed documents before a processor, if there are places for it."""
    if not places:
        return watched
    return Backfilled(
        watched, Backfill([make_provider(p) for p in places], processor.known_streams)
    )


def _recorder(folder: Path | None) -> AbstractContextManager[RecordingWriter | None]:
    return nullcontext() if folder is None else RecordingWriter(folder)


# A live service behind a journal: after a crash it goes on as if there had been none.


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
        self._kept: JournalSupervisor | None = None

    def __enter__(self) -> Self:
        """Start, and go on where the last one ended."""
        self._kept = JournalSupervisor(self._folder, self._zmq, self._options)
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

    def check() -> CheckResult:
        kept = source.wait_ready(0)
        return CheckResult(
            kept, {"kept": kept, "state": source.status, "behind_bytes": source.behind}
        )

    behind = Family(
        name="operando_journal_behind_bytes",
        help="Bytes of the journal that were not processed yet",
        read=lambda: float(source.behind),
    )
    monitor.add_part("journal", [lambda: journal.counts], [behind], check)
