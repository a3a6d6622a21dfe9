"""Whether an HTTP server answers, asked seldom and never by the processing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import httpx

_ASK_AGAIN_S = 10.0

_ANSWER_S = 2.0


class Reachable:
    """Remembers for some seconds whether a server answered.

    Parameters
    ----------
    uri : address of the server; a query, which may hold a key, is left out.
    clock : monotonic clock, s.
    """

    def __init__(self, uri: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._uri = uri.partition("?")[0]
        self._clock = clock
        self._lock = threading.Lock()
        self._asked_at: float | None = None
        self._trouble = ""

    def trouble(self) -> str:
        """Why the server cannot be used, "" if it can; asks it if that was not done lately."""
        with self._lock:
            now = self._clock()
            if self._asked_at is None or now - self._asked_at > _ASK_AGAIN_S:
                self._trouble = self._ask()
                self._asked_at = self._clock()
            return self._trouble

    def _ask(self) -> str:
        try:
            status = httpx.get(self._uri, timeout=_ANSWER_S, follow_redirects=True).status_code
        except httpx.HTTPError as error:
            return f"{type(error).__name__}: {error}"
        return f"status {status}" if status >= httpx.codes.INTERNAL_SERVER_ERROR else ""
