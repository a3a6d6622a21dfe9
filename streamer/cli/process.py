"""``operando process``: the live service."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .exits import Exit
from .options import (
    Device,
    FramesDir,
    HttpAddress,
    HttpPublic,
    LogFormatOption,
    Profile,
    StuckAfter,
    TiledUri,
)

if TYPE_CHECKING:
    from ..recording.writer import RecordingWriter


def process(
    zmq: Annotated[
        str,
        typer.Option(metavar="HOST:PORT", help="Out side of the beamline's bluesky-0MQ-proxy."),
    ] = "localhost:5578",
    tiled: TiledUri = None,
    profile: Profile = None,
    device: Device = None,
    frames_dir: FramesDir = None,
    record: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Also keep the raw documents, one recording per run."),
    ] = None,
    runs: Annotated[
        int, typer.Option(min=0, help="End after this many runs with images; 0: never.")
    ] = 0,
    queue_mb: Annotated[
        float,
        typer.Option(
            min=1,
            help="Documents that may wait in memory to be processed, MB; beyond that events are "
            "dropped, and told in the ledger of their run.",
        ),
    ] = 1024.0,
    http: HttpAddress = None,
    http_public: HttpPublic = False,
    stuck_after: StuckAfter = 300.0,
    log_format: LogFormatOption = None,
) -> None:
    """Follow a beamline live: documents from 0MQ, results to Tiled, until Ctrl-C or SIGTERM.

    On the beamline side this needs a proxy (bluesky-0MQ-proxy) and a Publisher subscribed to the
    RunEngine; the README of each profile has the lines.
    """
    from ..operation.http import parse_address
    from ..operation.monitor import Monitor
    from ..operation.systemd import notify
    from ..service import Service
    from ..sources import make_source
    from .ending import end_after, stop_at_signals
    from .live import Connection, follow, show_ended
    from .reach import tiled_trouble
    from .sinks import processor_with_sinks, settings_of
    from .terminal import say, use_log_format
    from .watch import watch

    use_log_format(log_format)
    address = parse_address(http, public=http_public) if http else None
    stop = stop_at_signals()
    settings = settings_of(profile, device)
    source = make_source("zmq", address=zmq, max_bytes=int(queue_mb * 1e6))
    trouble = tiled_trouble(tiled) if tiled else ""
    if trouble:
        say(f"{trouble}; results are kept and sent when it can be reached", "yellow")
    monitor = Monitor(source, stuck_after)
    with (
        monitor.serving(address) as server,
        processor_with_sinks(settings, tiled, frames_dir) as (processor, summary, sink),
    ):
        watched = watch(monitor, processor, settings, (tiled, sink))
        if runs:
            processor.subscribe(end_after(runs, stop), "stop")
        with source, _recorder(record) as recorder:
            if server is not None:
                say(f"health and metrics at http://{server.host_and_port}")
            raw = recorder.write if recorder is not None else None
            service = Service(source, watched, raw=raw)
            notify("READY=1")
            follow(service, summary, stop, Connection(source, zmq), monitor.heartbeat.beat)
        ended = {uid: run for uid, run in summary.runs.items() if run.stop is not None}
        watched.close()  # ends runs that have no stop document
        show_ended(summary, ended)
    if source.counters().dropped:
        say(f"{source.counters().dropped} documents were dropped", "red")
        raise typer.Exit(Exit.LOST)


def _recorder(folder: Path | None) -> AbstractContextManager[RecordingWriter | None]:
    from ..recording.writer import RecordingWriter

    return nullcontext() if folder is None else RecordingWriter(folder)
