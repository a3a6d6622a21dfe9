"""``operando record``: keep what a beamline publishes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Keys


def record(
    folder: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the recordings.")
    ] = Path(),
    zmq: Annotated[
        str,
        typer.Option(metavar="HOST:PORT", help="Out side of the beamline's bluesky-0MQ-proxy."),
    ] = "localhost:5578",
    runs: Annotated[int, typer.Option(min=0, help="End after this many runs; 0: never.")] = 0,
    keys: Keys = None,
) -> None:
    """Write every document that comes over 0MQ to disk, one file per run, until Ctrl-C.

    A recording is readable up to its last whole document even if this process is killed.
    """
    from ..recording.writer import RecordingWriter
    from ..sources import make_source
    from ..sources.losses import DROPPED
    from .ending import stop_at_signals
    from .keys import listening_with
    from .live import Connection
    from .terminal import console, say

    stop = stop_at_signals()
    source = make_source("zmq", address=zmq, **listening_with(keys))
    connection = Connection(source, zmq)
    ended = count = size = 0
    with source, RecordingWriter(folder) as writer, console().status("connecting") as status:
        while not source.exhausted:
            if stop.is_set():
                source.close()  # what has queued up is still written
            connection.check()
            for item in source.drain(64, timeout=0.2):
                if item.name == DROPPED:  # told at the end
                    continue
                writer.write(item.name, item.doc, item.received_at)
                count += 1
                size += item.nbytes
                ended += item.name == "stop"
            status.update(f"{count} documents, {size / 1e6:.1f} MB, {ended} runs complete")
            if runs and ended >= runs:
                stop.set()
        paths = list(writer.paths.values())
    for path in paths:
        say(f"wrote {path}")
    if source.counters().dropped:
        say(f"{source.counters().dropped} documents were dropped", "red")
