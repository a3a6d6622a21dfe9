"""Check that Tiled answers; asked seldom, and never by the processing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import httpx

from ....callbacks.sinks.buffer import BufferedSink
from ...io.redact import redacted
from .monitor import CheckResult, Monitor

_ASK_AGAIN_S = 10.0  # by eye: a health report may be asked for every second
_ANSWER_S = 2.0


class Reachable:
    """An HTTP server of which is remembered for some seconds whether it answered.

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
        """Return why the server cannot be used, "" if it can; ask it if not done lately."""
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


def watch_tiled(monitor: Monitor, uri: str, sink: BufferedSink) -> None:
    """Have the monitor tell whether Tiled answers, and what waits to go there."""
    server = Reachable(uri)

    def writer() -> Any:
        return sink.sink.counts  # pyright: ignore[reportAttributeAccessIssue]

    def check() -> CheckResult:
        trouble, documents, rows = server.trouble(), sink.counts, writer()
        details: dict[str, Any] = {
            "reachable": not trouble,
            "backlog_documents": documents.queued,
            "backlog_bytes": documents.queued_bytes,
            "backlog_rows": getattr(rows, "pending", 0),
            "errors": getattr(rows, "errors", 0),
        }
        if trouble:
            details["trouble"] = redacted(trouble)
        return CheckResult(not trouble, details)

    monitor.add_part("tiled", [lambda: sink.counts, writer], check=check)
