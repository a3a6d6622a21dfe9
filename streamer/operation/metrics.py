"""Counters and histograms of what comes out of the processor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from ..frames import Document
from .families import Family, Readings

CONTENT_TYPE = CONTENT_TYPE_LATEST

_LATENCY_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_BATCH_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_PLAIN_BOOKS = ("received", "aligned", "degraded")
_REASONED_BOOKS = ("skipped", "dropped")


class Metrics:
    """Subscriber of result documents that keeps the numbers of the service for Prometheus."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._readings = Readings()
        registry.register(self._readings)
        self._streams: dict[str, tuple[str, str]] = {}
        self._frames = Counter(
            "operando_frames",
            "Sample frames by what became of them; dropped ones are booked when their run stops",
            ["status", "reason"],
            registry=registry,
        )
        self._revised = Counter(
            "operando_frames_revised", "Results that replaced earlier ones", registry=registry
        )
        self._rows = Counter(
            "operando_particle_rows", "Rows of particles that came out", registry=registry
        )
        self._ledger = Counter(
            "operando_ledger_frames",
            "Frames in the ledgers of the runs that have stopped",
            ["book", "reason"],
            registry=registry,
        )
        self._runs = Counter(
            "operando_runs",
            "Runs that have stopped",
            ["exit_status", "balanced"],
            registry=registry,
        )
        self._open = Gauge("operando_runs_open", "Runs that go on", registry=registry)
        self._latency = Histogram(
            "operando_latency_seconds",
            "From the event of a frame to its first result",
            buckets=_LATENCY_S,
            registry=registry,
        )
        self._batch = Histogram(
            "operando_processing_seconds",
            "Time for the documents that were taken together",
            buckets=_BATCH_S,
            registry=registry,
        )
        self._documents = Counter(
            "operando_documents", "Documents given to the processor", registry=registry
        )

    def add(self, families: Iterable[Family]) -> None:
        """Add numbers that are read when they are asked for."""
        self._readings.add(families)

    def build(self, facts: Mapping[str, str]) -> None:
        """Tell what runs here, as labels of ``operando_build_info``."""
        info = Gauge("operando_build_info", "What runs here", list(facts), registry=self.registry)
        info.labels(**facts).set(1)

    def processed(self, documents: int, seconds: float) -> None:
        """Count documents that were processed together."""
        self._documents.inc(documents)
        self._batch.observe(seconds)

    def exposition(self) -> bytes:
        """Everything in the text format of Prometheus."""
        return generate_latest(self.registry)

    def __call__(self, name: str, doc: Document) -> None:
        """Take a result document into account."""
        if name == "event":
            self._event(doc)
        elif name == "start":
            self._open.inc()
        elif name == "descriptor":
            self._streams[doc["uid"]] = (doc["run_start"], doc["name"])
        elif name == "stop":
            self._stop(doc)

    def _event(self, doc: Document) -> None:
        _, stream = self._streams.get(doc["descriptor"], ("", ""))
        if stream == "particles":
            self._rows.inc()
        elif stream == "frames":
            data = doc["data"]
            if data["revision"] > 0:
                self._revised.inc()
                return
            self._frames.labels(data["status"], data["reason"]).inc()
            self._latency.observe(max(0.0, data["latency"]))

    def _stop(self, doc: Document) -> None:
        run, ledger = doc["run_start"], doc["ledger"]
        self._streams = {key: entry for key, entry in self._streams.items() if entry[0] != run}
        self._open.dec()
        self._runs.labels(doc["exit_status"], str(bool(ledger["balanced"])).lower()).inc()
        self._book(ledger)
        for reason, count in ledger["dropped"].items():
            self._frames.labels("dropped", reason).inc(count)

    def _book(self, ledger: Mapping[str, Any]) -> None:
        for book in _PLAIN_BOOKS:
            self._ledger.labels(book, "").inc(ledger[book])
        for book in _REASONED_BOOKS:
            for reason, count in ledger[book].items():
                self._ledger.labels(book, reason).inc(count)
