"""``operando forward`` and ``keys``: the proxy of documents, and CURVE keys for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

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
