"""Counters and histograms of what comes out of the processor."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ...core.frames import Document
from ...core.streams import stream_of

CONTENT_TYPE = CONTENT_TYPE_LATEST
# buckets, by eye: from a fast frame to what no beamline would wait for
_LATENCY_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_BATCH_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LEVELS = frozenset({"queued", "queued_bytes", "peak_bytes", "pending"})  # that also go down
logger = logging.getLogger(__name__)
Numbers = float | Mapping[str, float]


class Metrics:
    """Subscriber of result documents that keeps the numbers of the service for Prometheus."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._readings = Readings()
        registry.register(self._readings)
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
        """Return everything in the text format of Prometheus."""
        return generate_latest(self.registry)

    def __call__(self, name: str, doc: Document) -> None:
        """Take a result document into account."""
        if name == "event":
            self._event(doc)
        elif name == "start":
            self._open.inc()
        elif name == "stop":
            self._stop(doc)

    def _event(self, doc: Document) -> None:
        data = doc["data"]
        stream = stream_of(data)
        if stream == "particles":
            self._rows.inc()
        elif stream == "frames":
            if data["revision"] > 0:
                self._revised.inc()
                return
            self._frames.labels(data["status"], data["reason"]).inc()
            self._latency.observe(max(0.0, data["latency"]))

    def _stop(self, doc: Document) -> None:
        ledger = doc["ledger"]
        self._open.dec()
        self._runs.labels(doc["exit_status"], str(bool(ledger["balanced"])).lower()).inc()
        for book in ("received", "aligned", "degraded"):
            self._ledger.labels(book, "").inc(ledger[book])
        for book in ("skipped", "dropped"):
            for reason, count in ledger[book].items():
                self._ledger.labels(book, reason).inc(count)
        for reason, count in ledger["dropped"].items():
            self._frames.labels("dropped", reason).inc(count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One number, or one per value of a label.

    Attributes
    ----------
    name : of the metric, with its unit and without ``_total``.
    help : one line about it.
    read : gives the number, or the numbers by label; from any thread, without waiting.
    label : name of the label, "" if there is none.
    kind : ``counter`` only grows.
    """

    name: str
    help: str
    read: Callable[[], Numbers]
    label: str = ""
    kind: Literal["gauge", "counter"] = "gauge"


def of_counts(part: str, counts: Callable[[], Any]) -> list[Family]:
    """Return families of all numbers in a dataclass of counters.

    Parameters
    ----------
    part : whose counters: the names are ``operando_<part>_<field>``.
    counts : gives the dataclass; its fields that are no numbers are left out.
    """
    names = [f.name for f in dataclasses.fields(counts()) if _is_number(getattr(counts(), f.name))]
    return [
        Family(
            name=f"operando_{part}_{name}",
            help=f"{name.replace('_', ' ')} of the {part}",
            read=lambda name=name: float(getattr(counts(), name)),
            kind="gauge" if name in _LEVELS else "counter",
        )
        for name in names
    ]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class Readings(Collector):
    """Reads families when they are asked for; one that fails costs itself alone."""

    def __init__(self) -> None:
        self._families: list[Family] = []
        self._failed: set[str] = set()

    def add(self, families: Iterable[Family]) -> None:
        """Add families."""
        self._families = [*self._families, *families]

    def describe(self) -> Iterable[Metric]:
        """Return nothing: nothing is known beforehand."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Read all families."""
        for family in self._families:
            try:
                numbers = family.read()
            except Exception as error:  # noqa: BLE001 - the others are still worth having
                self._say_failed(family.name, error)
            else:
                yield _metric(family, numbers)

    def _say_failed(self, name: str, error: Exception) -> None:
        if name not in self._failed:
            self._failed.add(name)
            logger.warning(
                "the metric %s cannot be read: %s: %s", name, type(error).__name__, error
            )


def _metric(family: Family, numbers: Numbers) -> Metric:
    kind = GaugeMetricFamily if family.kind == "gauge" else CounterMetricFamily
    if not isinstance(numbers, Mapping):
        return kind(family.name, family.help, value=numbers)
    metric = kind(family.name, family.help, labels=[family.label])
    for label, number in numbers.items():
        metric.add_metric([label], number)
    return metric


def gpu_families() -> list[Family]:
    """Return the memory of each GPU in use; without one, the families have no numbers."""
    return [
        Family(
            name=f"operando_gpu_memory_{what}_bytes",
            help=f"Memory {how} tensors, by CUDA device",
            label="device",
            read=lambda what=what: _by_device(f"memory_{what}"),
        )
        for what, how in (("allocated", "taken by"), ("reserved", "held for"))
    ]


def _by_device(question: str) -> dict[str, float]:
    import torch

    if not torch.cuda.is_initialized():  # asking would claim some hundred MB of a GPU
        return {}
    ask = getattr(torch.cuda, question)
    return {f"cuda:{n}": float(ask(n)) for n in range(torch.cuda.device_count())}
