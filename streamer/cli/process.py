"""``operando process``: the live service."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Device, FramesDir, Keys, Profile, TiledUri

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
    journal: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Keep every document there before anything is done with it, and checkpoints: "
            "after a crash or a stop the next start goes on where this one ended.",
        ),
    ] = None,
    backfill: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PLACE",
            help="Where documents that were missed can be fetched: a folder with recordings, or "
            "the URI of the raw runs in Tiled. May be given more than once.",
        ),
    ] = None,
    runs: Annotated[
        int, typer.Option(min=0, help="End after this many runs with images; 0: never.")
    ] = 0,
    keys: Keys = None,
) -> None:
    """Follow a beamline live: documents from 0MQ, results to Tiled, until Ctrl-C.

    On the beamline side this needs a proxy (bluesky-0MQ-proxy) and a Publisher subscribed to the
    RunEngine; the README of each profile has the lines.
    """
    from ..errors import ConfigError
    from ..service import Service
    from ..sources import make_source
    from .ending import end_after, stop_at_signals
    from .journalled import follow_journal, with_backfill
    from .keys import listening_with
    from .live import Connection, follow
    from .reach import tiled_trouble
    from .sinks import processor_with_sinks, settings_of
    from .terminal import say

    if journal is not None and record is not None:
        raise ConfigError(
            "--journal keeps the raw documents already: leave --record out, and make a recording "
            "of the journal with operando replay when one is wanted"
        )
    stop = stop_at_signals()
    settings = settings_of(profile, device)
    trouble = tiled_trouble(tiled) if tiled else ""
    if trouble:
        say(f"{trouble}; results are kept and sent when it can be reached", "yellow")
    resumable = journal is not None
    with processor_with_sinks(settings, tiled, frames_dir, resumable=resumable) as parts:
        processor, summary, sink = parts
        if runs:
            processor.subscribe(end_after(runs, stop), "stop")
        if journal is not None:
            options = ["--profile", profile] if profile else []
            options += ["--keys", str(keys)] if keys else []
            confirming = [] if sink is None else [sink]
            follow_journal(
                (processor, summary, confirming),
                settings,
                (journal, zmq, tiled or ""),
                stop,
                backfill=backfill or (),
                options=options,
            )
            return
        source = make_source("zmq", address=zmq, **listening_with(keys))
        with source, _recorder(record) as recorder:
            raw = recorder.write if recorder is not None else None
            service = Service(source, with_backfill(processor, backfill or ()), raw=raw)
            follow(service, summary, stop, Connection(source, zmq))
    if source.counters().dropped:
        say(f"{source.counters().dropped} documents were dropped", "red")


def _recorder(folder: Path | None) -> AbstractContextManager[RecordingWriter | None]:
    from ..recording.writer import RecordingWriter

    return nullcontext() if folder is None else RecordingWriter(folder)
