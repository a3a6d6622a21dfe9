"""An array of a live run, as Tiled's websocket pushes it; where it does not, nobody is told."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tiled.client.context import Context
from tiled.client.stream import ArraySubscription

logger = logging.getLogger(__name__)

_LARGEST_MESSAGE = 256 << 20


class Pushed:
    """Subscribes to an array and hands on what is pushed, until closed.

    Parameters
    ----------
    context : of Tiled's client. path : keys of the array.
    deliver : is given (index of the first row or None for the whole array, data), in another
        thread.
    """

    def __init__(
        self,
        context: Context,
        path: list[str],
        deliver: Callable[[int | None, NDArray[Any]], None],
    ) -> None:
        self._deliver = deliver
        self._subscription = ArraySubscription(context, path)
        # Tiled holds callbacks by weak reference: this object keeps the bound method alive
        self._subscription.new_data.add_callback(self._take)
        name = f"dashboard {'/'.join(path[-2:])}"
        # not start_in_thread: it waits for ever where the server refuses websockets
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def close(self) -> None:
        """End the subscription; does not wait for its thread."""
        threading.Thread(
            target=self._subscription.disconnect, kwargs={"wait": False}, daemon=True
        ).start()

    def _run(self) -> None:
        try:
            self._subscription.start(max_size=_LARGEST_MESSAGE)
        except Exception as error:  # noqa: BLE001 - of many kinds; polling goes on without it
            logger.info("no pushes for %s (%s): polling", self._subscription, type(error).__name__)

    def _take(self, update: Any) -> None:
        try:
            offset = getattr(update, "offset", None)
            self._deliver(None if offset is None else int(offset[0]), np.asarray(update.data()))
        except Exception:  # Tiled's thread pool would swallow it
            logger.exception("a push of %s cannot be used", self._subscription)
