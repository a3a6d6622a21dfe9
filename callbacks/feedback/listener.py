"""Result documents from 0MQ for callbacks in this process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, Self

from ...streamer.sources.settings import ZmqSourceSettings
from ...streamer.sources.zmq import ZmqSource
from ..subscribers import Subscribers

_POLL_S = 0.2
_BURST = 64


class ResultListener:
    """Hands result documents that a service publishes to callbacks, in a thread of its own.

    Parameters
    ----------
    address : out side of the proxy to which the results go (``operando process --publish``).
    callbacks : called with ``(name, doc)``; one that fails is logged and does not disturb others.
    curve : CURVE keys: `CurveSettings` or bluesky's ``ClientCurve``.
    """

    def __init__(
        self,
        address: str,
        *callbacks: Callable[[str, Mapping[str, Any]], object],
        curve: Any = None,
    ) -> None:
        self._source = ZmqSource(ZmqSourceSettings(address=address, curve=curve))
        self._subscribers = Subscribers()
        for callback in callbacks:
            self._subscribers.add(callback, "all")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="operando-results", daemon=True)

    def open(self) -> None:
        """Start to listen."""
        self._source.open()
        self._thread.start()

    def __enter__(self) -> Self:
        """Start to listen."""
        self.open()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Stop listening."""
        self.close()

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Wait up to `timeout` s until no result published from now on can be missed."""
        return self._source.wait_ready(timeout)

    def close(self) -> None:
        """Stop listening."""
        self._stopping.set()
        self._source.close()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            for item in self._source.drain(_BURST, _POLL_S):
                self._subscribers.emit(item.name, item.doc)
