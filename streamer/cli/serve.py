"""``operando dashboard`` and ``ioc``: results as a web page and as process variables."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import Keys, TiledUri

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
    from .network import listening_with
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
