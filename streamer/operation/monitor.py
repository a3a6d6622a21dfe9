"""Watches a service: one object that knows its parts, for logs, health, metrics and systemd."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Protocol

from ..frames import Document, NamedDocument
from ..sources import Source
from .families import Family, of_counts
from .gpu import gpu_families
from .health import Check, Finding, Health
from .heartbeat import Heartbeat
from .http import Answer, StatusServer
from .metrics import CONTENT_TYPE, Metrics
from .systemd import Watchdog, notify


class Processor(Protocol):
    """What is watched."""

    def process(self, documents: Sequence[NamedDocument]) -> None:
        """Process documents that have queued up, as a batch."""
        ...

    def close(self) -> None:
        """End what is open."""
        ...


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
    """What can be told of a service while it runs.

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
        told = ("version", "profile", "device", "detector", "config_sha256")
        facts = {"version": version("operando"), "python": platform.python_version()}
        facts |= {key: str(provenance[key]) for key in told if key in provenance}
        self.metrics.build(facts)
        return Watched(processor, self.heartbeat, self.metrics)

    def results(self, name: str, doc: Document) -> None:
        """Subscriber of the results."""
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
        """Within this the service runs: answer HTTP if there is an address, and tell systemd."""
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

    def routes(self) -> dict[str, Callable[[], Answer]]:
        """Paths of the status server, and what they answer."""
        return {
            "/healthz": lambda: _told(*self.health.report()),
            "/livez": lambda: _told(*self.health.alive()),
            "/metrics": lambda: Answer(self.metrics.exposition(), CONTENT_TYPE),
        }

    def _check_source(self) -> Finding:
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
        return Finding(connected, details)

    def _check_processor(self) -> Finding:
        pulse = self.heartbeat.pulse()
        stuck = pulse.silent_for > self._stuck_after
        details = {
            "running": self._running,
            "stuck": stuck,
            "silent_for": _rounded(pulse.silent_for),
            "busy_for": _rounded(pulse.busy_for),
            "documents": pulse.documents,
        }
        return Finding(self._running and not stuck, details)

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


def _told(well: bool, body: dict[str, Any]) -> Answer:
    return Answer.json(body, HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
