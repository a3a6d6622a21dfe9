"""``operando process``: the live service."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .options import Device, FramesDir, Profile, TiledUri


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
) -> None:
    """Follow a beamline live: documents from 0MQ, results to Tiled, until Ctrl-C.

    On the beamline side this needs a proxy (bluesky-0MQ-proxy) and a Publisher subscribed to the
    RunEngine; the README of each profile has the lines.
    """
    from ..service import Service
    from ..sources import make_source
    from .ending import end_after
    from .live import follow
    from .sinks import processor_with_sinks, settings_of

    console = Console(stderr=True)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    settings = settings_of(profile, device)
    source = make_source("zmq", address=zmq)
    with processor_with_sinks(settings, tiled, frames_dir) as (processor, summary, sink):
        if runs:
            processor.subscribe(end_after(runs, stop), "stop")
        with source, _recorder(record) as recorder:
            service = Service(source, processor, raw=recorder)
            follow(service, source, summary, stop, console)
        processor.close()
        if sink is not None:
            console.print("delivering the last results to Tiled")
    if source.counters().dropped:
        console.print(f"{source.counters().dropped} documents were dropped", style="red")


def _recorder(folder: Path | None):
    from contextlib import nullcontext

    from ..recording.writer import RecordingWriter

    if folder is None:
        return nullcontext()
    folder.mkdir(parents=True, exist_ok=True)
    return RecordingWriter(folder)
