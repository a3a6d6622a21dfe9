"""A beamline that publishes faster than the service can process, through real 0MQ."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from ....callbacks.publisher import FramePublisher
from ...service.tiled_server import free_port
from ..rig import Child, RigError, start_proxy, start_service
from .harness import Progress, no_progress
from .load import Recycled, Scraped, resources_of, scrape

_RAW_MEMORY_MB = 64.0  # by eye: small beside the queue, so that what is wrong shows
_ESSENTIAL = 1.25  # of the queue: how far beyond its bound the few small documents may go
_CATCH_UP_S = 900.0  # by eye
_LOOK_S = 0.5  # by eye: from look to look at the service
_ENOUGH = 20  # documents, to measure a speed with; by eye


@dataclass(frozen=True, slots=True, kw_only=True)
class OverloadFigures:
    """Figures of an overload.

    Attributes
    ----------
    capacity : sample frames/s that the service processes at leisure, all that belongs to them
        included; under load it is measured anew with each run.
    rate : sample frames/s published. seconds : for how long. published : sample frames.
    rss_before, rss_most : resident memory of the service after two runs at leisure, and the most
        under load, bytes.
    bound : what `rss_most` should not exceed: `rss_before`, the queue with its reserve, and the
        frames that are kept in memory for their final value and the second look, bytes.
    queued_most, queued_bytes_most : documents that waited at most, and their bytes.
    caught_up : s from the last document published until all runs had stopped.
    ledger : sums over all runs, by book and reason. unbalanced : runs that do not balance.
    unpublished : documents that the publisher itself gave up. status : exit status at SIGTERM.
    """

    capacity: float
    rate: float
    seconds: float
    published: int
    rss_before: int
    rss_most: int
    bound: int
    queued_most: int
    queued_bytes_most: int
    caught_up: float
    ledger: dict[str, int]
    unbalanced: int
    unpublished: int
    status: int

    @property
    def accounted(self) -> bool:
        """Tell whether every published frame stands in a ledger that balances."""
        return not self.unbalanced and self.ledger.get("received", 0) == self.published


@dataclass(frozen=True, slots=True, kw_only=True)
class OverloadSettings:
    """Size and length of an overload.

    Attributes
    ----------
    seconds : of the overload. factor : of the measured capacity.
    queue_mb : what may wait in memory, MB. options : further options of ``operando process``.
    """

    seconds: float = 60.0
    factor: float = 2.0
    queue_mb: float = 64.0
    options: Sequence[str] = ()


@dataclass(slots=True)
class _Watch:
    """Watches the service from a thread."""

    service: Child
    address: str
    rss_most: int = 0
    queued_most: float = 0
    queued_bytes_most: float = 0
    end: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.end.wait(_LOOK_S):
            try:
                self.rss_most = max(self.rss_most, resources_of(self.service.process.pid).rss)
                metrics = scrape(self.address)
            except (OSError, KeyError, httpx.HTTPError):
                continue  # it has ended, or is busy; what waits for it says so
            self.queued_most = max(self.queued_most, metrics.sum("operando_source_queued"))
            waiting = metrics.sum("operando_source_queued_bytes")
            self.queued_bytes_most = max(self.queued_bytes_most, waiting)


def measure_overload(
    recycled: Recycled,
    settings: OverloadSettings,
    folder: Path,
    progress: Progress = no_progress,
) -> OverloadFigures:
    """Measure the capacity of a service, then publish faster than that.

    Parameters
    ----------
    recycled : run that is published again and again.
    folder : for logs.

    Raises
    ------
    RigError
        If a process does not start, or the service does not catch up.
    """
    port_in, port_out, port_http = free_port(), free_port(), free_port()
    address = f"127.0.0.1:{port_http}"
    arguments = ["--zmq", f"127.0.0.1:{port_out}", "--http", address, "--profile", "sim_txm"]
    arguments += ["--queue-mb", f"{settings.queue_mb:g}", *settings.options]
    with ExitStack() as stack:
        stack.enter_context(start_proxy(folder, port_in, port_out))
        environment = {"OPERANDO_PROCESS__RAW_MEMORY_MB": f"{_RAW_MEMORY_MB:g}"}
        service = stack.enter_context(start_service(folder, arguments, environment=environment))
        publisher = FramePublisher(f"127.0.0.1:{port_in}")
        stack.callback(publisher.close)
        publisher.wait_connected(10)
        capacity = _capacity(recycled, publisher, service, address)
        before = scrape(address)
        rss_before = resources_of(service.process.pid).rss
        rate = settings.factor * capacity
        phase = f"capacity {capacity:.1f} frames/s; publishing {rate:.1f}/s"
        watch = _Watch(service, address)
        thread = threading.Thread(target=watch.run, name="watch", daemon=True)
        thread.start()
        began = time.monotonic()
        pace = _Pace(recycled, address, settings.factor, rate)
        seconds = settings.seconds
        frames, runs = _overload(
            recycled, publisher, pace, seconds, lambda done: progress(phase, done, seconds)
        )
        ended = time.monotonic()
        progress(f"{frames} frames in {runs} runs; waiting until all are processed", 0, 1)
        done = before.sum("operando_runs_total") + runs
        after = _wait(service, address, lambda told: told.sum("operando_runs_total") >= done)
        caught_up = time.monotonic() - ended
        watch.end.set()
        thread.join()
        return OverloadFigures(
            capacity=capacity,
            rate=frames / (ended - began),
            seconds=ended - began,
            published=frames,
            rss_before=rss_before,
            rss_most=watch.rss_most,
            bound=round(rss_before + (_ESSENTIAL * settings.queue_mb + 2 * _RAW_MEMORY_MB) * 1e6),
            queued_most=int(watch.queued_most),
            queued_bytes_most=int(watch.queued_bytes_most),
            caught_up=caught_up,
            ledger=_ledger(before, after),
            unbalanced=int(after.sum("operando_runs_total", balanced="false")),
            unpublished=publisher.counters().dropped,
            status=service.end(60.0),
        )


def _capacity(recycled: Recycled, publisher: FramePublisher, service: Child, address: str) -> float:
    """Measure sample frames/s in the second of two runs, all that belongs to it included."""
    seconds = 0.0
    for number in (1, 2):
        begin = scrape(address).sum("operando_processing_seconds_sum")
        for (name, doc), _ in recycled.run():
            publisher(name, doc)
            _wait(service, address, lambda told: told.sum("operando_source_queued") < 8)
        metrics = _wait(service, address, lambda t, n=number: t.sum("operando_runs_total") >= n)
        seconds = metrics.sum("operando_processing_seconds_sum") - begin
    return recycled.frames / seconds


class _Pace:
    """Keeps the load at a factor of what the service can do now: other work may slow it down.

    Parameters
    ----------
    factor : of what it can do. rate : sample frames/s at first.
    """

    def __init__(self, recycled: Recycled, address: str, factor: float, rate: float) -> None:
        events = sum(name == "event" for name, _ in recycled.documents)
        self._events_per_frame = events / recycled.frames
        self._documents_per_frame = len(recycled.documents) / recycled.frames
        self._address = address
        self._factor = factor
        self._rate = rate
        self._last = scrape(address)

    @property
    def pause(self) -> float:
        """Return the time from event to event, s."""
        return 1.0 / (self._rate * self._events_per_frame)

    def adapt(self) -> None:
        """Measure again what the service can do, if it has done enough since the last time."""
        now = scrape(self._address)
        documents, seconds = (
            now.sum(name) - self._last.sum(name)
            for name in ("operando_documents_total", "operando_processing_seconds_sum")
        )
        if documents >= _ENOUGH and seconds > 0:
            self._rate = self._factor * documents / seconds / self._documents_per_frame
            self._last = now


def _overload(
    recycled: Recycled,
    publisher: FramePublisher,
    pace: _Pace,
    seconds: float,
    elapsed: Callable[[float], None],
) -> tuple[int, int]:
    """Publish whole runs at an even pace for so long; return the sample frames and the runs."""
    began = due = time.monotonic()
    frames = runs = 0
    while time.monotonic() - began < seconds:
        elapsed(time.monotonic() - began)
        pace.adapt()
        due = max(due, time.monotonic() - 1.0)
        for (name, doc), is_frame in recycled.run():
            if name == "event":
                due += pace.pause
                time.sleep(max(0.0, due - time.monotonic()))
            publisher(name, doc)
            frames += is_frame
        runs += 1
    return frames, runs


def _wait(service: Child, address: str, done: Callable[[Scraped], bool]) -> Scraped:
    deadline = time.monotonic() + _CATCH_UP_S
    while not done(metrics := scrape(address)):
        if not service.running:
            raise RigError(service.story("ended too early"))
        if time.monotonic() > deadline:
            raise RigError(service.story(f"did not catch up within {_CATCH_UP_S:.0f} s"))
        time.sleep(0.1)
    return metrics


def _ledger(before: Scraped, after: Scraped) -> dict[str, int]:
    name = "operando_ledger_frames_total"
    earlier = before.by(name, "book", "reason")
    sums = {
        key: round(value - earlier.get(key, 0.0))
        for key, value in after.by(name, "book", "reason").items()
    }
    return {f"{book} ({reason})" if reason else book: n for (book, reason), n in sums.items() if n}
