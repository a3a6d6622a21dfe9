"""``operando keys``: CURVE keys for publisher, forwarder and subscriber."""

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


def listening_with(folder: Path | None) -> dict[str, Any]:
    """Return the settings of a `ZmqSource` with the keys of a folder; none without one."""
    if folder is None:
        return {}
    from ..curve_keys import client_curve

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
    from ..curve_keys import make_keys
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
