"""Watches a service: one object that knows its parts, for logs, health, metrics and systemd."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from starlette.responses import Response

from ....callbacks.sinks.buffer import BufferedSink
from ...core.frames import Document, NamedDocument
from ...io.redact import redacted
from ...io.sources import Source
from ...io.tiled.status import Reachable
from ..service import Processor
from .http import StatusServer, as_json
from .metrics import CONTENT_TYPE, Family, Metrics, gpu_families, of_counts
from .systemd import Watchdog, notify


class Watched:
    """A processor whose work is timed.

    Parameters
    ----------
    processor : does the work.
    heartbeat, metrics : are told of it.
    """

    def __init__(self, processor: Processor, heartbeat: Heartbeat, metrics: Metrics) -> None:
        self._processor = processor
        self._heartbeat = heartbeat
        self._metrics = metrics

    def process(self, documents: Sequence[NamedDocument]) -> None:
        """Process documents that have queued up, as a batch."""
        began = time.perf_counter()
        with self._heartbeat.work(len(documents)):
            self._processor.process(documents)
        self._metrics.processed(len(documents), time.perf_counter() - began)

    def close(self) -> None:
        """End what is open."""
        with self._heartbeat.work(0):
            self._processor.close()


class Monitor:
    """Heartbeat, metrics and health of a service while it runs.

    Parts that come later (a journal, a spool, a checkpoint) add `Family` numbers by
    `metrics.add` and a check by `health.add`; nothing in here need know them.

    Parameters
    ----------
    source : of the service.
    stuck_after : the processor is taken to be stuck without a sign of life for so long, s.

    Attributes
    ----------
    heartbeat, metrics, health : the parts.
    """

    def __init__(self, source: Source, stuck_after: float = 300.0) -> None:
        self.heartbeat = Heartbeat()
        self.metrics = Metrics()
        self.health = Health()
        self._source = source
        self._stuck_after = stuck_after
        self._running = False
        self.health.add("source", self._check_source)
        self.health.add("processor", self._check_processor, vital=True)
        self.metrics.add(of_counts("source", source.counters))
        self.metrics.add(gpu_families())
        self.metrics.add(self._own_families())

    def watch(self, processor: Processor, provenance: dict[str, Any]) -> Watched:
        """Watch a processor.

        Parameters
        ----------
        provenance : what makes its results; told in the health report and in the build info.
        """
        shown = ("version", "profile", "device", "detector", "config_sha256")
        facts = {"version": version("operando"), "python": platform.python_version()}
        facts |= {key: str(provenance[key]) for key in shown if key in provenance}
        self.metrics.build(facts)
        return Watched(processor, self.heartbeat, self.metrics)

    def results(self, name: str, doc: Document) -> None:
        """Take a result document into account; a subscriber of the processor."""
        self.heartbeat.beat()
        self.metrics(name, doc)

    def add_part(
        self,
        name: str,
        counts: Sequence[Callable[[], Any]] = (),
        families: Sequence[Family] = (),
        check: Check | None = None,
    ) -> None:
        """Watch a further part of the service, e.g. a sink or a journal.

        Parameters
        ----------
        name : begins the names of its metrics, and is its key in the health report.
        counts : give dataclasses of counters, all of whose numbers become metrics.
        families : further numbers.
        check : finds whether it is well.
        """
        for number, counters in enumerate(counts):
            self.metrics.add(of_counts(name if not number else f"{name}_writer", counters))
        self.metrics.add(families)
        if check is not None:
            self.health.add(name, check)

    @contextmanager
    def serving(self, address: tuple[str, int] | None) -> Iterator[StatusServer | None]:
        """Answer HTTP if there is an address, and tell systemd, while the service runs."""
        self._running = True
        self.heartbeat.beat()
        with Watchdog(lambda: self.health.alive()[0]):
            try:
                if address is None:
                    yield None
                else:
                    with StatusServer(address, self.routes()) as server:
                        yield server
            finally:
                notify("STOPPING=1")
                self._running = False

    def routes(self) -> dict[str, Callable[[], Response]]:
        """Return the paths of the status server, with what they answer."""
        return {
            "/healthz": lambda: _answer(*self.health.report()),
            "/livez": lambda: _answer(*self.health.alive()),
            "/metrics": lambda: Response(self.metrics.exposition(), media_type=CONTENT_TYPE),
        }

    def _check_source(self) -> CheckResult:
        counters, pulse = self._source.counters(), self.heartbeat.pulse()
        connected = self._source.wait_ready(0)
        details = {
            "connected": connected,
            "state": getattr(self._source, "status", ""),
            "last_document_age": _rounded(pulse.document_age),
            "queued": counters.queued,
            "queued_bytes": counters.queued_bytes,
            "dropped": counters.dropped,
            "bad": counters.bad,
        }
        return CheckResult(connected, details)

    def _check_processor(self) -> CheckResult:
        pulse = self.heartbeat.pulse()
        stuck = pulse.silent_for > self._stuck_after
        details = {
            "running": self._running,
            "stuck": stuck,
            "silent_for": _rounded(pulse.silent_for),
            "busy_for": _rounded(pulse.busy_for),
            "documents": pulse.documents,
        }
        return CheckResult(self._running and not stuck, details)

    def _own_families(self) -> list[Family]:
        return [
            Family(
                name="operando_source_connected",
                help="1 while the source is connected",
                read=lambda: float(self._source.wait_ready(0)),
            ),
            Family(
                name="operando_healthy",
                help="1 for each part that is well",
                label="part",
                read=self._healthy,
            ),
            Family(
                name="operando_processor_silent_seconds",
                help="Since the processing last gave a sign of life",
                read=lambda: self.heartbeat.pulse().silent_for,
            ),
        ]

    def _healthy(self) -> dict[str, float]:
        _, report = self.health.report()
        return {part: float(found["ok"]) for part, found in report.items() if "ok" in found}


def _answer(well: bool, body: dict[str, Any]) -> Response:
    return as_json(body, HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Finding of a check.

    Attributes
    ----------
    ok : whether all is well.
    details : plain data for the report.
    """

    ok: bool
    details: Mapping[str, Any] = field(default_factory=dict)


Check = Callable[[], CheckResult]


class Health:
    """Checks by name; add one by `add`.

    A check is called from the thread of whoever asks, and must not wait for the processing.
    """

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}
        self._vital: set[str] = set()

    def add(self, name: str, check: Check, *, vital: bool = False) -> None:
        """Add a check.

        Parameters
        ----------
        name : key in the report.
        check : is called for every report.
        vital : whether only a restart helps if it fails.
        """
        self._checks[name] = check
        if vital:
            self._vital.add(name)

    def report(self) -> tuple[bool, dict[str, Any]]:
        """Return whether everything is well, and the report."""
        return self._report(self._checks)

    def alive(self) -> tuple[bool, dict[str, Any]]:
        """Return whether all is well that only a restart would help, and the report on that."""
        return self._report({name: self._checks[name] for name in self._vital})

    def _report(self, checks: Mapping[str, Check]) -> tuple[bool, dict[str, Any]]:
        findings = {name: _guarded(check) for name, check in checks.items()}
        well = all(finding.ok for finding in findings.values())
        body: dict[str, Any] = {"status": "ok" if well else "failing"}
        body["failing"] = sorted(name for name, finding in findings.items() if not finding.ok)
        for name, finding in findings.items():
            body[name] = {"ok": finding.ok, **finding.details}
        return well, body


def _guarded(check: Check) -> CheckResult:
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - what cannot be looked at is not well
        return CheckResult(False, {"error": redacted(f"{type(error).__name__}: {error}")})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """The signs of life at one moment.

    Attributes
    ----------
    silent_for : s since the last sign of life.
    busy_for : s since the documents in work were taken; None if none are in work.
    document_age : s since documents came last; None if none have come.
    documents : documents taken so far. seconds : spent on those that are done, s.
    """

    silent_for: float
    busy_for: float | None
    document_age: float | None
    documents: int
    seconds: float


class Heartbeat:
    """Signs of life: every step of the service, and in between every result that comes out.

    Parameters
    ----------
    clock : monotonic clock, s.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last = clock()
        self._busy_since: float | None = None
        self._document_at: float | None = None
        self._documents = 0
        self._seconds = 0.0

    def beat(self) -> None:
        """Give a sign of life."""
        with self._lock:
            self._last = self._clock()

    @contextmanager
    def work(self, documents: int) -> Iterator[None]:
        """Hold so many documents to be in work within this context."""
        with self._lock:
            began = self._last = self._busy_since = self._document_at = self._clock()
            self._documents += documents
        try:
            yield
        finally:
            with self._lock:
                self._last = self._clock()
                self._seconds += self._last - began
                self._busy_since = None

    def pulse(self) -> Pulse:
        """Look at the signs of life."""
        with self._lock:
            now = self._clock()
            busy, came = self._busy_since, self._document_at
            return Pulse(
                silent_for=now - self._last,
                busy_for=None if busy is None else now - busy,
                document_age=None if came is None else now - came,
                documents=self._documents,
                seconds=self._seconds,
            )


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
