"""Where the terminal's view comes from."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Protocol, Self

from tiled.client import from_uri

from ...callbacks.tiled_follow import TiledFollower
from ..errors import ConfigError
from ..frames import Document
from ..sources import make_source
from ..tiled_key import stored_key
from ..view import LiveView, init, update
from .keys import listening_with
from .reach import tiled_trouble

_PATIENCE_S = 3.0


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
        self._client = from_uri(uri, api_key=stored_key(uri))
        self._follower = TiledFollower(self._client)  # pyright: ignore[reportArgumentType]
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
            self._client.context.close()
