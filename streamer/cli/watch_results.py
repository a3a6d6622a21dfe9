"""``operando watch``: what goes on, on the terminal."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError
from .options import Keys, TiledUri

if TYPE_CHECKING:
    from pathlib import Path

    from ..view import LiveView
    from .watching import Watching

_WIDEST = 120


def watch(
    zmq: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Out side of the proxy to which operando process --publish sends its results.",
            show_default=False,
        ),
    ] = None,
    tiled: TiledUri = None,
    keys: Keys = None,
    every: Annotated[float, typer.Option(min=0.1, help="s between two looks at Tiled.")] = 2.0,
    once: Annotated[
        bool, typer.Option("--once", help="Show what there is once there is a frame, and end.")
    ] = False,
) -> None:
    """Show particles, drift, ledger and advice of the running scan on the terminal, until Ctrl-C.

    Results are read from Tiled, or from a 0MQ proxy; the processor does not know that it is
    watched. Of a run that began earlier a proxy tells what comes from now on.
    """
    from rich.console import Console
    from rich.live import Live

    from .ending import stop_at_signals
    from .terminal_view import view_of

    console = Console(markup=False, emoji=False, highlight=False)
    with _opened(zmq, tiled, keys, every) as watching:
        stop = stop_at_signals("ending")
        if once:
            view, trouble = _first(watching, stop)
            console.print(view_of(view, time.time(), min(console.width, _WIDEST), trouble))
            return
        with Live(console=console, auto_refresh=False) as live:
            while not stop.is_set():
                view, trouble = watching.look(0.25)
                width = min(console.width, _WIDEST)
                live.update(view_of(view, time.time(), width, trouble), refresh=True)


def _opened(zmq: str | None, tiled: str | None, keys: Path | None, every: float) -> Watching:
    # read when Tiled's client is imported: who watches asks again anyway, and need not wait 45 s
    os.environ.setdefault("TILED_RETRY_TIMEOUT", "5")
    from .watching import TiledWatching, ZmqWatching

    if (zmq is None) == (tiled is None):
        raise ConfigError("watch takes --zmq HOST:PORT or --tiled URI, one of them")
    if tiled is not None:
        if keys is not None:
            raise ConfigError("--keys protects what comes over 0MQ: it belongs to --zmq")
        return TiledWatching(tiled, every)
    return ZmqWatching(str(zmq), keys)


def _first(watching: Watching, stop: threading.Event) -> tuple[LiveView, str]:
    """The view as soon as it holds a frame."""
    while True:
        view, trouble = watching.look(0.25)
        if stop.is_set() or view.frame.number >= 0:
            return view, trouble
