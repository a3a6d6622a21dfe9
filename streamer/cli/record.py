"""``operando record``: keep what a beamline publishes."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def record(
    folder: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the recordings.")
    ] = Path(),
    zmq: Annotated[
        str,
        typer.Option(metavar="HOST:PORT", help="Out side of the beamline's bluesky-0MQ-proxy."),
    ] = "localhost:5578",
    runs: Annotated[int, typer.Option(min=0, help="End after this many runs; 0: never.")] = 0,
) -> None:
    """Write every document that comes over 0MQ to disk, one file per run, until Ctrl-C.

    A recording is readable up to its last whole document even if this process is killed.
    """
    from ..recording.writer import RecordingWriter
    from ..sources import make_source

    console = Console(stderr=True)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    source = make_source("zmq", address=zmq)
    ended = count = size = 0
    announced = False
    with source, RecordingWriter(folder) as writer, console.status("connecting") as status:
        while not source.exhausted:
            if stop.is_set():
                source.close()  # what has queued up is still written
            if not announced and source.wait_ready(0):
                console.print("ready: subscribed, waiting for runs", highlight=False)
                announced = True
            for item in source.drain(64, timeout=0.2):
                writer.write(item.name, item.doc, item.received_at)
                count += 1
                size += item.nbytes
                ended += item.name == "stop"
            status.update(f"{count} documents, {size / 1e6:.1f} MB, {ended} runs complete")
            if runs and ended >= runs:
                stop.set()
        paths = list(writer.paths.values())
    for path in paths:
        console.print(f"wrote {path}", highlight=False)
