"""The one reader of Tiled: a thread that follows the newest run and those that are looked at."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from ...io.tiled.key import without_key
from ...io.tiled.reads import TiledReads
from ...io.tiled.status import TiledStatus, status_of
from . import messages
from .feed import Push, RunFeed
from .pictures import Where

logger = logging.getLogger(__name__)
NEWEST = ""
_RUNS_S = 1.0
_ALL_RUNS_S = 60.0
_RETRY_S = 2.0
_PAUSE_S, _PATIENCE = 0.3, 2
_MOST_RUNS, _FEW_RUNS = 200, 5
_TIMEOUT_S = 20.0
Send = Callable[..., None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribe:
    """A viewer looks at a run (`NEWEST`: at whichever is the newest), or at nothing more (None)."""

    viewer: int
    run: str | None


class Reader:
    """Reads result runs for all viewers; use it as a context manager.

    Parameters
    ----------
    uri : address of the Tiled server, without a key.
    send : hands a message to viewers: ``send(numbers, payload, droppable=False)``.
    """

    def __init__(self, uri: str, send: Send) -> None:
        self._uri = uri
        self._shown = without_key(uri)
        self._send = send
        self._inbox: queue.SimpleQueue[Push | Subscribe | None] = queue.SimpleQueue()
        self._looks: dict[int, str] = {}
        self._feeds: dict[str, RunFeed] = {}
        self._runs: list[Mapping[str, Any]] = []
        self._runs_due = 0.0
        self._all_runs_due = 0.0
        self._reads: TiledReads | None = None
        self._trouble: TiledStatus | None = None
        self._sent_status = ""
        self._failures = 0
        self._thread = threading.Thread(target=self._work, name="dashboard-reader", daemon=True)

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._inbox.put(None)
        self._thread.join(_TIMEOUT_S + 5.0)

    # -- from any thread -------------------------------------------------------------------

    def look(self, viewer: int, run: str | None) -> None:
        """Have a viewer look at a run, see `Subscribe`."""
        self._inbox.put(Subscribe(viewer=viewer, run=run))

    def shape(self, where: Where) -> tuple[int, int] | None:
        """Shape of an image that somebody may look at now, (H, W); None if there is none."""
        run, stream, key, row = where
        feed = self._feeds.get(run)
        board = None if feed is None else feed.boards.get(stream)
        if board is None or not 0 <= row < board.count:
            return None
        shape = board.arrays.get(key)
        return None if shape is None else (shape[0], shape[1])

    def image(self, where: Where, shape: tuple[int, int], step: int) -> NDArray[np.float32]:
        """Read every `step`-th pixel of an image.

        Raises
        ------
        httpx.HTTPError
            Tiled does not give it.
        """
        reads = self._reads
        if reads is None:
            raise httpx.ConnectError("there is no connection to Tiled")
        run, stream, key, row = where
        return reads.image(run, stream, key, row, shape, step)

    @property
    def trouble(self) -> TiledStatus | None:
        """Return the present state of Tiled."""
        return self._trouble

    # -- the thread ------------------------------------------------------------------------

    def _work(self) -> None:
        wait = 0.0
        while self._serve(wait):
            try:
                wait = self._round()
                if self._trouble is not None:
                    logger.info("Tiled at %s answers again", self._shown)
                self._trouble, self._failures = None, 0
                self._send_status()
            except httpx.HTTPError as error:
                wait = self._failed(error)
            except Exception as error:  # the next round shall be tried
                logger.exception("fault in the dashboard's reader")
                wait = self._failed(error)
        self._drop_connection()

    def _round(self) -> float:
        """Ask for what is due; return how long there is nothing to do, s."""
        if self._reads is None:
            self._reads = TiledReads.connect(self._uri, _TIMEOUT_S)
        if time.monotonic() >= self._runs_due:
            self._list_runs(self._reads)
            self._runs_due = time.monotonic() + _RUNS_S
        self._choose()
        for feed in tuple(self._feeds.values()):
            feed.refresh(self._reads, time.monotonic())
        now = time.monotonic()
        return min([self._runs_due - now, *(feed.due(now) for feed in self._feeds.values())])

    def _serve(self, wait: float) -> bool:
        """Take what comes within a time; return False at the end."""
        deadline = time.monotonic() + wait
        while True:
            try:
                left = deadline - time.monotonic()
                item = self._inbox.get(left > 0, max(left, 0.0))
            except queue.Empty:
                return True
            if item is None:
                return False
            if isinstance(item, Subscribe):
                self._looked(item)
                return True  # a run that nobody has read yet is due at once
            feed = self._feeds.get(item.run)
            if feed is not None:
                feed.take(item, time.monotonic())
                deadline = min(deadline, time.monotonic() + feed.due(time.monotonic()))

    def _list_runs(self, reads: TiledReads) -> None:
        """Look for new and stopped runs: at the newest often, at all seldom."""
        everything = time.monotonic() >= self._all_runs_due
        found = reads.runs(_MOST_RUNS if everything else _FEW_RUNS)
        if everything:
            self._all_runs_due = time.monotonic() + _ALL_RUNS_S
        else:
            listed = {metadata["key"] for metadata in found}
            found += [metadata for metadata in self._runs if metadata["key"] not in listed]
        if found == self._runs:
            return
        self._runs = found
        self._send(self._looks, messages.runs(found))
        for metadata in found:
            feed = self._feeds.get(metadata["key"])
            if feed is not None and feed.live and metadata.get("stop"):
                feed.end(metadata)

    def _choose(self) -> None:
        """Follow the newest run and those that are looked at, and no other."""
        wanted = {self._resolve(run) for run in (NEWEST, *self._looks.values())} - {None}
        for key in set(self._feeds) - wanted:
            self._feeds.pop(key).close()
        for metadata in self._runs:
            key = str(metadata["key"])
            if key in wanted and key not in self._feeds:
                send = partial(self._send_to_run, key)
                feed = RunFeed(key, metadata, send, self._inbox.put)
                self._feeds = {**self._feeds, key: feed}
                self._send(self._lookers(key), messages.run(metadata))

    def _resolve(self, run: str) -> str | None:
        keys = [metadata["key"] for metadata in self._runs]
        if run != NEWEST:
            return run if run in keys else None
        return keys[0] if keys else None

    def _lookers(self, key: str) -> Iterable[int]:
        return [n for n, run in self._looks.items() if self._resolve(run) == key]

    def _send_to_run(self, key: str, payload: str | bytes, droppable: bool) -> None:
        self._send(self._lookers(key), payload, droppable=droppable)

    def _looked(self, look: Subscribe) -> None:
        if look.run is None:
            self._looks.pop(look.viewer, None)
            return
        fresh = look.viewer not in self._looks
        self._looks[look.viewer] = look.run
        if fresh:
            self._send([look.viewer], self._status())
            self._send([look.viewer], messages.runs(self._runs))
        key = self._resolve(look.run)
        feed = None if key is None else self._feeds.get(key)
        snapshot = [messages.run(None)] if feed is None else feed.snapshot()
        for payload in snapshot:
            self._send([look.viewer], payload)

    # -- how Tiled is ----------------------------------------------------------------------

    def _status(self) -> str:
        now = time.monotonic()
        pushed = any(feed.pushed(now) for feed in self._feeds.values())
        return messages.status(self._trouble, self._shown, pushed=pushed)

    def _send_status(self) -> None:
        status = self._status()
        if status != self._sent_status:
            self._sent_status = status
            self._send(self._looks, status)

    def _failed(self, error: Exception) -> float:
        self._failures += 1
        if self._failures <= _PATIENCE and _may_pass(error):
            logger.info("Tiled at %s: %s", self._shown, type(error).__name__)
            return _PAUSE_S
        trouble = status_of(error, self._uri)
        if trouble != self._trouble:
            logger.warning("%s", trouble)
        self._trouble = trouble
        self._send_status()
        self._drop_connection()
        self._runs_due = self._all_runs_due = 0.0
        return _RETRY_S

    def _drop_connection(self) -> None:
        """Close everything; boards are read anew, for the server may hold others now."""
        for feed in self._feeds.values():
            feed.close()
        if self._reads is not None:
            self._reads.close()
        self._reads = None
        self._feeds = {}


def _may_pass(error: Exception) -> bool:
    """Return whether Tiled answers so while an array grows: 500, or a cut connection."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.is_server_error
    return isinstance(error, httpx.ReadError | httpx.RemoteProtocolError)
