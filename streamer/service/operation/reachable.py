"""Health of Tiled and of the way there, as the monitor reports it."""

from __future__ import annotations

from typing import Any

from ....callbacks.sinks.buffer import BufferedSink
from ...io.redact import redacted
from ...io.tiled.status import Reachable
from .monitor import CheckResult, Monitor


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
