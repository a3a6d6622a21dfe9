"""``operando forward``: the proxy between beamline and listeners, with or without keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


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
    from ..forwarder import Forwarder, ForwarderSettings
    from .ending import stop_at_signals
    from .terminal import say

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
