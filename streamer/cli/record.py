"""``operando record``, ``journal`` and ``import``: keep documents, or make them of files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Keys, Profile, ZmqAddress


def record(
    folder: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the recordings.")
    ] = Path(),
    zmq: ZmqAddress = "localhost:5578",
    runs: Annotated[int, typer.Option(min=0, help="End after this many runs; 0: never.")] = 0,
    keys: Keys = None,
) -> None:
    """Write every document that comes over 0MQ to disk, one file per run, until Ctrl-C.

    A recording is readable up to its last whole document even if this process is killed.
    """
    from ..io.recording.writer import RecordingWriter
    from ..io.sources import make_source
    from ..io.wire.queue import DROPPED
    from .network import listening_with
    from .progress import Connection
    from .terminal import console, say, stop_at_signals

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


def journal(
    folder: Annotated[Path, typer.Argument(help="Folder of the journal; made if absent.")],
    zmq: ZmqAddress = "localhost:5578",
    profile: Profile = None,
    keys: Keys = None,
    linger: Annotated[
        bool,
        typer.Option(
            "--linger",
            help="End when no operando process has read the journal for journal.linger_s.",
        ),
    ] = False,
) -> None:
    """Append every document to a journal, and do nothing else, until Ctrl-C.

    operando process --journal FOLDER starts this by itself. As a service of its own it goes on
    receiving whatever happens to the processor.
    """
    from ..config import load_settings
    from ..io.journal.segments import JournalFolder
    from ..io.sources.zmq import ZmqSource, ZmqSourceSettings
    from ..service.keeper import Keeper
    from ..service.operation.systemd import notify
    from .network import listening_with
    from .terminal import say, stop_at_signals

    stop = stop_at_signals("ending; what has come in is written first")
    settings = load_settings(profile).journal
    source = ZmqSource(ZmqSourceSettings(address=zmq, **listening_with(keys)))
    keeper = Keeper(source, JournalFolder(folder), settings, zmq, linger=linger)
    with source:
        say(f"keeping the journal {folder} of {zmq}")
        notify("READY=1")
        keeper.run(stop)
    counters = source.counters()
    say(f"{counters.decoded} documents kept, {counters.bad} refused")


def import_data(
    source: Annotated[
        Path,
        typer.Argument(
            help="A folder of .xrm files (SSRL, Xradia), a TIFF stack or folder with an energy "
            "list, or an FXI HDF5 file.",
            exists=True,
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="The recording, *.msgpack.")
    ],
    kind: Annotated[
        str | None,
        typer.Option(help="xrm, tiff or fxi; default: seen from the files.", show_default=False),
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing recording.")] = False,
) -> None:
    """Make a recording out of data that you already have; then `operando replay` plays it.

    Files that cannot be read are skipped, counted and named.
    """
    from rich.progress import Progress

    from ..io.importers import import_to_recording
    from .terminal import console, say

    with Progress(console=console()) as bar:
        task = bar.add_task("reading", total=None)
        report = import_to_recording(
            source,
            output,
            importer=kind,
            overwrite=overwrite,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    for path, reason in report.skipped:
        say(f"skipped {path}: {reason}", "yellow")
    say(f"wrote {output}: {report.files} files read, {len(report.skipped)} skipped")
