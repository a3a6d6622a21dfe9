"""``operando ioc``: results as EPICS process variables, in a process of their own."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import Keys

Prefix = Annotated[
    str | None,
    typer.Option("--prefix", metavar="PREFIX", help="Of all names, e.g. XF:18ID:OPERANDO:"),
]


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
    from ..epics.ioc import SoftIoc
    from ..sources import make_source
    from .ending import stop_at_signals
    from .keys import listening_with
    from .live import Connection
    from .terminal import say

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

    from ..epics.records import HOLD, records

    table = Table("name", "kind", "units", "what it tells", box=box.SIMPLE)
    for record in records():
        table.add_row(prefix + record.name, record.kind, record.units, record.about)
    table.add_row(prefix + HOLD, "choice", "", "go or hold; for operators to write")
    Console(markup=False, emoji=False).print(table)
