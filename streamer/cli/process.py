"""``operando process``: the live service."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from .options import (
    Exit,
    HttpAddress,
    HttpPublic,
    Keys,
    LogFormatOption,
    ResultOptions,
    StuckAfter,
    ZmqAddress,
    takes,
)


@dataclass(frozen=True, kw_only=True)
class ProcessOptions(ResultOptions):
    """Options of ``operando process``."""

    zmq: ZmqAddress = "localhost:5578"
    record: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Also keep the raw documents, one recording per run."),
    ] = None
    journal: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Keep every document there before anything is done with it, and checkpoints: "
            "after a crash or a stop the next start goes on where this one ended.",
        ),
    ] = None
    backfill: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PLACE",
            help="Where documents that were missed can be fetched: a folder with recordings, or "
            "the URI of the raw runs in Tiled. May be given more than once.",
        ),
    ] = None
    publish: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="In side of a second bluesky-0MQ-proxy that gets the results without their "
            "images, for feedback to the beamline. Default: off.",
            show_default=False,
        ),
    ] = None
    publish_keys: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="CURVE keys of a publisher for that proxy."),
    ] = None
    runs: Annotated[
        int, typer.Option(min=0, help="End after this many runs with images; 0: never.")
    ] = 0
    keys: Keys = None
    queue_mb: Annotated[
        float,
        typer.Option(
            min=1,
            help="Documents that may wait in memory to be processed, MB; beyond that events are "
            "dropped, and told in the ledger of their run. With a journal they wait there.",
        ),
    ] = 1024.0
    http: HttpAddress = None
    http_public: HttpPublic = False
    stuck_after: StuckAfter = 300.0
    epics: Annotated[
        str | None,
        typer.Option(
            metavar="PREFIX",
            help="Also serve what comes out as EPICS process variables, e.g. XF:18ID:OPERANDO: "
            "(operando ioc --list names them). Default: off.",
            show_default=False,
        ),
    ] = None
    log_format: LogFormatOption = None


@takes(ProcessOptions)
def process(options: ProcessOptions) -> None:
    """Follow a beamline live: documents from 0MQ, results to Tiled, until Ctrl-C or SIGTERM.

    On the beamline side this needs a proxy (bluesky-0MQ-proxy) and a Publisher subscribed to the
    RunEngine; the README of each profile has the lines.
    """
    from ..io.tiled.status import tiled_trouble
    from .live_service import LiveService
    from .terminal import say, stop_at_signals, use_log_format

    use_log_format(options.log_format)
    stop = stop_at_signals()
    service = LiveService(options)
    trouble = tiled_trouble(options.tiled) if options.tiled else ""
    if trouble:
        say(f"{trouble}; results are kept and sent when it can be reached", "yellow")
    dropped = service.run(stop)
    if dropped:
        say(f"{dropped} documents were dropped", "red")
        raise typer.Exit(Exit.LOST)
