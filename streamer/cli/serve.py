"""``operando forward``, ``keys``, ``dashboard`` and ``ioc``: documents and results for others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .options import Keys, TiledUri

_USES = {
    "forwarder": "the computer between them:  operando forward --keys {path}",
    "publisher": "the beamline's computer:    FramePublisher(..., curve=...), or bluesky's "
    "Publisher(..., curve_config=ClientCurve(secret, forwarder.key)); "
    "operando replay --zmq HOST:PORT --keys {path}",
    "subscriber": "the processing computer:    operando process --keys {path}",
}


def forward(
    inside: Annotated[
        str, typer.Option("--in", metavar="HOST:PORT", help="Where publishers connect to.")
    ] = "127.0.0.1:5577",
    outside: Annotated[
        str, typer.Option("--out", metavar="HOST:PORT", help="Where listeners connect to.")
    ] = "127.0.0.1:5578",
    keys: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Keys of the forwarder (operando keys): only those whose public keys lie there "
            "may publish or listen, and all is encrypted.",
        ),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Serve other computers without keys.")
    ] = False,
    high_water: Annotated[
        int, typer.Option(min=1, help="Messages that may wait for one listener.")
    ] = 1000,
) -> None:
    """Pass on documents from publishers to everyone who listens, until Ctrl-C.

    Does what bluesky-0MQ-proxy does for stock publishers and listeners, can protect both sides
    with CURVE keys (which the stock one cannot), counts what it passes on, and ends cleanly.
    """
    from ..service.forwarder import Forwarder, ForwarderSettings
    from .terminal import say, stop_at_signals

    settings = ForwarderSettings(
        in_address=inside,
        out_address=outside,
        keys=keys,
        insecure=insecure,
        high_water=high_water,
    )
    with Forwarder(settings) as forwarder:
        stop = stop_at_signals("ending")
        how = "in the clear" if keys is None else "encrypted"
        say(f"forwarding {how} from {forwarder.in_address} to {forwarder.out_address}")
        forwarder.run(stop)
        counts = forwarder.counters()
    say(
        f"passed on {counts.forwarded} of {counts.received} messages, {counts.bytes / 1e6:.1f} MB; "
        f"{counts.odd} of several parts left out; "
        f"{counts.fell_behind} times a listener fell behind, "
        f"{counts.refused} times somebody was not let in"
    )


def listening_with(folder: Path | None) -> dict[str, Any]:
    """Return the settings of a `ZmqSource` with the keys of a folder; none without one."""
    if folder is None:
        return {}
    from ..io.wire.curve import client_curve

    return {"curve": client_curve(folder, "subscriber").model_dump()}


def keys(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder for the keys; only you can read it.")
    ],
    publisher: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="One who may publish; repeat for several. Default: publisher."
        ),
    ] = None,
    subscriber: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="One who may listen; repeat for several. Default: subscriber."
        ),
    ] = None,
) -> None:
    """Make CURVE keys: one folder per computer, to be copied there and nowhere else.

    Keys that are there already are kept, so that further names can be added later; take one off by
    deleting its public key from the forwarder's folder. The forwarder reads keys when it starts.
    """
    from ..io.wire.curve import make_keys
    from .terminal import say

    named = bool(publisher or subscriber)
    made = make_keys(
        folder,
        publisher or (() if named else ("publisher",)),
        subscriber or (() if named else ("subscriber",)),
    )
    for item in made:
        say(f"{'made' if item.new else 'kept'} {item.path}")
        say(f"  for {_USES[item.role].format(path=item.path)}")
    say("copy each folder to its computer over a channel you trust (scp -rp), and nowhere else")


Prefix = Annotated[
    str | None,
    typer.Option("--prefix", metavar="PREFIX", help="Of all names, e.g. XF:18ID:OPERANDO:"),
]


def dashboard(
    tiled: TiledUri = None,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen at; 0 picks a free one.")
    ] = 8050,
    public: Annotated[
        bool, typer.Option("--public", help="Let other machines reach it, without password.")
    ] = False,
) -> None:
    """Show what is in Tiled as a live web page, to any number of viewers.

    It reads Tiled and nothing else, and writes nothing. The API key stays with this process; one
    that may only read is enough.
    """
    from ..errors import ConfigError
    from ..io.tiled.key import without_key
    from ..service.dashboard.web import Dashboard
    from .terminal import say

    if tiled is None:
        raise ConfigError("operando dashboard needs --tiled URI, e.g. http://localhost:8000")
    served = Dashboard(tiled, host, port, public=public)
    say(f"dashboard of {without_key(tiled)} at {served.address} (Ctrl-C ends it)")
    served.run()


def ioc(
    prefix: Prefix = None,
    zmq: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT",
            help="Out side of the proxy to which operando process --publish sends its results.",
        ),
    ] = "localhost:5588",
    keys: Keys = None,
    names: Annotated[
        bool, typer.Option("--list", help="Print all process variables, and end.")
    ] = False,
) -> None:
    """Serve results as EPICS process variables, until Ctrl-C.

    On this computer alone, unless EPICS_CAS_INTF_ADDR_LIST names interfaces; the port is that of
    EPICS_CA_SERVER_PORT. Clients need EPICS_CA_ADDR_LIST=127.0.0.1 then. The same variables are
    served by operando process --epics PREFIX without a second process.
    """
    if names:
        _list(prefix or "")
        return
    from ..io.sources import make_source
    from ..service.epics.ioc import SoftIoc
    from .progress import Connection
    from .terminal import say, stop_at_signals

    source = make_source("zmq", address=zmq, **listening_with(keys))
    connection = Connection(source, zmq, "subscribed, waiting for results")
    with SoftIoc(prefix or "", alive=lambda: source.wait_ready(0)) as served, source:
        stop = stop_at_signals("ending")
        say(f"process variables {served.prefix}* are served at {served.where}")
        while not stop.is_set():
            connection.check()
            for item in source.drain(timeout=0.5):
                served(item.name, item.doc)


def _list(prefix: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from ..service.epics.records import HOLD, records

    table = Table("name", "kind", "units", "what it tells", box=box.SIMPLE)
    for record in records():
        table.add_row(prefix + record.name, record.kind, record.units, record.about)
    table.add_row(prefix + HOLD, "choice", "", "go or hold; for operators to write")
    Console(markup=False, emoji=False).print(table)
