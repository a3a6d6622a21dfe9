"""The parts of ``operando process``, put together: source, monitor, processor, sinks, journal."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...callbacks.processor import StreamProcessor
from ...callbacks.summary import ResultSummary
from ..backfill import Backfill, Backfilled, make_provider
from ..config import Settings
from ..errors import ConfigError
from ..operation.monitor import Monitor
from ..operation.systemd import notify
from ..recording.writer import RecordingWriter
from ..service import Processor, Service
from ..sources import Source, make_source
from ..sources.journal import JournalSource
from .ending import end_after
from .journalled import Journalled, watch_journal
from .keys import listening_with
from .live import Connection, follow, show_ended
from .publishing import Outlet, publishing
from .sinks import processor_with_sinks
from .terminal import say
from .variables import serving_variables
from .watch import watch


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
