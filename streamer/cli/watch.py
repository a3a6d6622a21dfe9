"""``operando watch``: what goes on, on the terminal."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Annotated, Protocol, Self

import typer
from tiled.client import from_context

from ...callbacks.tiled.results import TiledFollower
from ..core.frames import Document
from ..core.view import LiveView, init, update
from ..errors import ConfigError
from ..io.sources import make_source
from ..io.tiled.connection import connect
from ..io.tiled.status import tiled_trouble
from .options import Keys, TiledUri
from .serve import listening_with

_WIDEST = 120
_PATIENCE_S = 3.0  # by eye


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

    from .terminal import stop_at_signals
    from .watch_view import view_of

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

    if (zmq is None) == (tiled is None):
        raise ConfigError("watch takes --zmq HOST:PORT or --tiled URI, one of them")
    if tiled is not None:
        if keys is not None:
            raise ConfigError("--keys protects what comes over 0MQ: it belongs to --zmq")
        return TiledWatching(tiled, every)
    return ZmqWatching(str(zmq), keys)


def _first(watching: Watching, stop: threading.Event) -> tuple[LiveView, str]:
    """Return the view as soon as it holds a frame."""
    while True:
        view, trouble = watching.look(0.25)
        if stop.is_set() or view.frame.number >= 0:
            return view, trouble


class Watching(Protocol):
    """A view that is kept up to date; a context manager."""

    def look(self, wait: float) -> tuple[LiveView, str]:
        """Wait for news for at most so long, s; return the view, and what trouble there is."""
        ...

    def __enter__(self) -> Self:
        """Begin."""
        ...

    def __exit__(self, *exc_info: object) -> None:
        """End."""
        ...


class ZmqWatching:
    """Listens to result documents.

    Parameters
    ----------
    address : out side of the proxy. keys : folder with CURVE keys, if it wants some.
    """

    def __init__(self, address: str, keys: Path | None) -> None:
        self._address = address
        self._source = make_source("zmq", address=address, **listening_with(keys))
        self._view = init()
        self._connected = time.monotonic()
        self._odd = 0

    def look(self, wait: float) -> tuple[LiveView, str]:
        """Take what has come."""
        for item in self._source.drain(timeout=wait):
            self._take(item.name, item.doc)
        if self._source.wait_ready(0):
            self._connected = time.monotonic()
        if time.monotonic() - self._connected > _PATIENCE_S:
            return self._view, f"no proxy answers at {self._address}; trying on"
        return self._view, f"{self._odd} documents make no sense" if self._odd else ""

    def _take(self, name: str, doc: Document) -> None:
        try:
            self._view = update(self._view, name, doc)
        except (KeyError, TypeError, ValueError, AttributeError):  # anybody may publish there
            self._odd += 1

    def __enter__(self) -> Self:
        self._source.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._source.close()


class TiledWatching:
    """Asks Tiled, in a thread: the stock client tries for 45 s to reach a server that is away.

    Parameters
    ----------
    uri : address of the server. every : s between two looks.

    Raises
    ------
    ConfigError
        It cannot be used.
    """

    def __init__(self, uri: str, every: float) -> None:
        trouble = tiled_trouble(uri)
        if trouble:
            raise ConfigError(trouble)
        self._context, path = connect(uri)
        client = from_context(self._context, node_path_parts=path)
        self._follower = TiledFollower(client)  # pyright: ignore[reportArgumentType]
        self._every = every
        self._asking_since: float | None = None
        self._trouble = ""
        self._news = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="operando-watch", daemon=True)

    def look(self, wait: float) -> tuple[LiveView, str]:
        """Wait for an answer."""
        self._news.wait(wait)
        self._news.clear()
        since = self._asking_since
        waited = 0.0 if since is None else time.monotonic() - since
        if waited > _PATIENCE_S:
            return self._follower.view, f"Tiled has not answered for {waited:.0f} s; trying on"
        return self._follower.view, self._trouble

    def _run(self) -> None:
        while not self._ending.is_set():
            self._asking_since = time.monotonic()
            self._ask()
            self._asking_since = None
            self._news.set()
            self._ending.wait(self._every)

    def _ask(self) -> None:
        try:
            self._follower.poll()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is shown, and tried again
            self._trouble = f"Tiled cannot be read: {type(error).__name__}: {error}; trying on"
        else:
            self._trouble = ""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ending.set()
        self._thread.join(_PATIENCE_S)
        if not self._thread.is_alive():
            self._context.close()
