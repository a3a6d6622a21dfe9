"""``operando journal``: receive documents and keep them, for a processor that reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Keys, Profile


def journal(
    folder: Annotated[Path, typer.Argument(help="Folder of the journal; made if absent.")],
    zmq: Annotated[
        str,
        typer.Option(metavar="HOST:PORT", help="Out side of the beamline's bluesky-0MQ-proxy."),
    ] = "localhost:5578",
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
    from ..journal.folder import JournalFolder
    from ..journal.keeper import Keeper
    from ..operation.systemd import notify
    from ..sources.settings import ZmqSourceSettings
    from ..sources.zmq import ZmqSource
    from .ending import stop_at_signals
    from .keys import listening_with
    from .terminal import say

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
