"""Puts the parts of a running service under its monitor."""

from __future__ import annotations

from typing import Any

from ...callbacks.processor.processor import StreamProcessor
from ...callbacks.sinks.buffer import BufferedSink
from ..config import Settings
from ..io.redact import redacted
from ..io.tiled.status import Reachable
from ..service.operation.monitor import CheckResult, Monitor, Watched


def watch(
    monitor: Monitor,
    processor: StreamProcessor,
    settings: Settings,
    tiled: tuple[str | None, BufferedSink | None],
) -> Watched:
    """Watch a processor, its results and its way to Tiled.

    Parameters
    ----------
    tiled : address of the server and the sink that writes to it, None each if there is none.

    Returns
    -------
    The processor to give documents to.
    """
    processor.subscribe(monitor.results)
    uri, sink = tiled
    if uri is not None and sink is not None:
        _watch_tiled(monitor, uri, sink)
    return monitor.watch(
        processor,
        {
            "profile": settings.profile,
            "device": settings.process.device,
            "detector": settings.detect.kind,
            "config_sha256": settings.sha256,
        },
    )


def _watch_tiled(monitor: Monitor, uri: str, sink: BufferedSink) -> None:
    server = Reachable(uri)

    def check() -> CheckResult:
        trouble = server.trouble()
        documents, writer = sink.counts, _writer_counts(sink)
        details: dict[str, Any] = {
            "reachable": not trouble,
            "backlog_documents": documents.queued,
            "backlog_bytes": documents.queued_bytes,
            "backlog_rows": getattr(writer, "pending", 0),
            "errors": getattr(writer, "errors", 0),
        }
        if trouble:
            details["trouble"] = redacted(trouble)
        return CheckResult(not trouble, details)

    monitor.add_part("tiled", [lambda: sink.counts, lambda: _writer_counts(sink)], check=check)


def _writer_counts(sink: BufferedSink) -> Any:
    return sink.sink.counts  # pyright: ignore[reportAttributeAccessIssue]
