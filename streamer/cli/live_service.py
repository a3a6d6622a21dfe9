"""The parts of ``operando process``, put together: source, monitor, processor, sinks, journal."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Self

from ...callbacks.processor.processor import StreamProcessor
from ...callbacks.sinks.checkpointer import Checkpointer
from ..errors import ConfigError
from ..io.recording.writer import RecordingWriter
from ..io.sources import Source, make_source
from ..io.sources.journal import JournalSource
from ..service.backfill import Backfill, Backfilled, make_provider
from ..service.keeper import JournalSupervisor
from ..service.operation.http import parse_address
from ..service.operation.metrics import Family
from ..service.operation.monitor import CheckResult, Monitor, Watched, watch_tiled
from ..service.operation.systemd import notify
from ..service.service import Processor, Service
from .network import listening_with
from .outputs import Outputs, processor_with_sinks, publishing, serving_variables, settings_of
from .process import ProcessOptions
from .progress import Connection, follow, show_ended
from .terminal import end_after, say

_CONFIRM_S = 60.0  # longest wait of the last checkpoint for the sinks; by eye


class LiveService:
    """The service that follows a beamline.

    Parameters
    ----------
    options : those of the command.

    Raises
    ------
    ConfigError
        The parts do not fit together.
    """

    def __init__(self, options: ProcessOptions) -> None:
        public = options.http_public
        self._http = parse_address(options.http, public=public) if options.http else None
        self._settings = settings_of(options.profile, options.device)
        if options.journal is not None and options.record is not None:
            raise ConfigError(
                "--journal keeps the raw documents already: leave --record out, and make a "
                "recording of the journal with operando replay when one is wanted"
            )
        self._options = options
        self._source = _source(options)
        self._monitor = Monitor(self._source, options.stuck_after)

    def run(self, stop: threading.Event) -> int:
        """Follow until told to stop, or until so many runs have ended.

        Returns
        -------
        Documents that were dropped for want of room.
        """
        options = self._options
        resumable = options.journal is not None
        with (
            self._monitor.serving(self._http) as server,
            processor_with_sinks(self._settings, options, resumable=resumable) as outputs,
            publishing(outputs.processor, options.publish, options.publish_keys),
            serving_variables(options.epics, outputs.processor, self._monitor),
        ):
            watched = self._watched(outputs)
            if options.runs:
                outputs.processor.subscribe(end_after(options.runs, stop), "stop")
            if server is not None:
                say(f"health and metrics at http://{server.host_and_port}")
            if isinstance(self._source, JournalSource):
                self._follow_journal(self._source, outputs, watched, stop)
            else:
                self._follow(outputs, watched, stop)
        return self._source.counters().dropped

    def _watched(self, outputs: Outputs) -> Watched:
        """Put the processor, its results and its way to Tiled under the monitor."""
        settings = self._settings
        outputs.processor.subscribe(self._monitor.results)
        if self._options.tiled is not None and outputs.tiled is not None:
            watch_tiled(self._monitor, self._options.tiled, outputs.tiled)
        provenance = {
            "profile": settings.profile,
            "device": settings.process.device,
            "detector": settings.detect.kind,
            "config_sha256": settings.sha256,
        }
        return self._monitor.watch(outputs.processor, provenance)

    def _follow(self, outputs: Outputs, watched: Watched, stop: threading.Event) -> None:
        summary = outputs.summary
        folder = self._options.record
        with self._source, RecordingWriter(folder) if folder else nullcontext() as recorder:
            raw = recorder.write if recorder is not None else None
            stage = self._with_backfill(watched, outputs.processor)
            self._turn(Service(self._source, stage, raw=raw), outputs, stop)
        ended = {uid: run for uid, run in summary.runs.items() if run.stop is not None}
        watched.close()  # ends runs that have no stop document
        show_ended(summary, ended)

    def _follow_journal(
        self, source: JournalSource, outputs: Outputs, watched: Watched, stop: threading.Event
    ) -> None:
        folder, address = self._options.journal, self._options.zmq
        assert folder is not None
        checkpointer = Checkpointer(
            outputs.processor,
            outputs.sinks,
            folder / "checkpoint",
            self._options.tiled or "",
            every=self._settings.journal.checkpoint_s,
        )
        options = _keeper_options(self._options)
        with Journalled(
            source, checkpointer, lambda: JournalSupervisor(folder, address, options)
        ) as journal:
            watch_journal(self._monitor, journal)
            stage = self._with_backfill(watched, outputs.processor)
            self._turn(Service(source, stage, after=journal.after_step), outputs, stop)

    def _turn(self, service: Service, outputs: Outputs, stop: threading.Event) -> None:
        notify("READY=1")
        connection = Connection(self._source, self._options.zmq)
        follow(service, outputs.summary, stop, connection, self._monitor.heartbeat.beat)

    def _with_backfill(self, watched: Watched, processor: StreamProcessor) -> Processor:
        """Put a stage that fetches missed documents before a processor, if it has places."""
        places = self._options.backfill
        if not places:
            return watched
        providers = [make_provider(place) for place in places]
        return Backfilled(watched, Backfill(providers, processor.known_streams))


def _source(options: ProcessOptions) -> Source:
    if options.journal is not None:
        return make_source("journal", folder=options.journal)
    queue = int(options.queue_mb * 1e6)
    keys = listening_with(options.keys)
    return make_source("zmq", address=options.zmq, max_bytes=queue, **keys)


def _keeper_options(options: ProcessOptions) -> list[str]:
    given = ["--profile", options.profile] if options.profile else []
    return given + (["--keys", str(options.keys)] if options.keys else [])


class Journalled:
    """A service behind a journal: after a crash it goes on as if there had been none.

    Parameters
    ----------
    source : reads the journal; not opened yet.
    checkpointer : of the processor and its sinks.
    keep : starts the keeper of the journal.

    Raises
    ------
    JournalError
        On entering, if the keeper cannot be started, or the journal is in use.
    """

    def __init__(
        self,
        source: JournalSource,
        checkpointer: Checkpointer,
        keep: Callable[[], JournalSupervisor],
    ) -> None:
        self.source = source
        self._checkpointer = checkpointer
        self._keep = keep

    def __enter__(self) -> Self:
        """Start the keeper, and go on where the last service ended."""
        self._supervisor = self._keep()
        try:
            position = self._checkpointer.resume()
            self.source.start_at(position)
            self.source.__enter__()
        except BaseException:
            self._supervisor.end()
            raise
        behind = self.source.behind / 1e6
        if position is not None or behind >= 0.001:
            begin = "beginning of the journal" if position is None else "checkpoint"
            say(f"going on from the {begin}: {behind:.1f} MB of documents to catch up with")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Write the last checkpoint, if all went well, and end the keeper."""
        try:
            if kind is None:
                self._finish()
        finally:
            self.source.__exit__()
            self._supervisor.end()

    def after_step(self) -> None:
        """Do what is due between two batches of documents."""
        self._checkpointer.step(self.source)
        self._supervisor.check()

    @property
    def checkpoints(self) -> int:
        """Return the number of checkpoints written since the start."""
        return self._checkpointer.written

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
        details = {"kept": kept, "state": source.status, "behind_bytes": source.behind}
        return CheckResult(kept, details)

    checkpoints = Family(
        name="operando_journal_checkpoints",
        help="checkpoints of the journal",
        read=lambda: float(journal.checkpoints),
        kind="counter",
    )
    behind = Family(
        name="operando_journal_behind_bytes",
        help="Bytes of the journal that were not processed yet",
        read=lambda: float(source.behind),
    )
    monitor.add_part("journal", families=[checkpoints, behind], check=check)
