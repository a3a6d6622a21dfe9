"""End to end at a given rate: publisher, proxy, service, Tiled and dashboard on this machine."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....callbacks.publisher import FramePublisher
from ...core.frames import NamedDocument
from ...errors import ConfigError
from ...service.tiled_server import EmbeddedTiled, free_port
from ..rig import Child, RigError, start_dashboard, start_proxy, start_service
from .harness import Column, Progress, Table, no_progress, sample_events
from .load import cpu_seconds, publish

Times = NDArray[np.float64]
_SETTLE_FRAMES = 8  # by eye: until the service has detected particles
_PICTURE_AT = 0.9  # by eye: share of the run after which a picture is taken
_IMAGE_WAIT_S = 60.0  # by eye
_PAGE = {"width": 1600, "height": 900}
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFigures:
    """Figures of a run at a fixed rate.

    Attributes
    ----------
    frames : frames published. in_tiled : frames of which Tiled holds the aligned image.
    rate : frames/s published. lag : s from the last frame published to the last result in Tiled.
    latency_p50, latency_p95 : s from the event to its result leaving the processor.
    ledger : of the stop document. dropped : documents that the publisher gave up.
    """

    frames: int
    in_tiled: int
    rate: float
    lag: float
    latency_p50: float
    latency_p95: float
    ledger: dict[str, Any]
    dropped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewerRecord:
    """Delays of what viewers saw of one run.

    Attributes
    ----------
    first_picture : s from opening the page to the first picture, per viewer.
    delay_p50, delay_p95, delay_max : s from a frame's event until it, or a later one, was shown;
        over all frames since the viewers were there, and all viewers.
    after_p50, after_p95 : the same from when the processor had the frame's result.
    updates : pictures shown per second and viewer.
    cpu : share of a core that the dashboard took.
    """

    first_picture: tuple[float, ...]
    delay_p50: float
    delay_p95: float
    delay_max: float
    after_p50: float
    after_p95: float
    updates: float
    cpu: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFigures:
    """Figures of a run that is looked at.

    Attributes
    ----------
    rate : results/s of the processor. latency_p50, latency_p95 : of the processor, s.
    tiled_cpu : share of a core that the Tiled server took.
    load : tasks of the whole machine that ran or wanted to, mean of the last minute.
    cores : of the machine.
    seen : None without viewers.
    """

    rate: float
    latency_p50: float
    latency_p95: float
    tiled_cpu: float
    load: float
    cores: int
    seen: ViewerRecord | None


def _start_system(
    stack: ExitStack, tiled: EmbeddedTiled, folder: Path
) -> tuple[Child, FramePublisher]:
    port_in, port_out = free_port(), free_port()
    stack.enter_context(start_proxy(folder, port_in, port_out))
    arguments = ["--zmq", f"127.0.0.1:{port_out}", "--tiled", tiled.base_uri]
    arguments += ["--frames-dir", str(tiled.frames_dir), "--profile", "sim_txm", "--runs", "1"]
    service = stack.enter_context(start_service(folder, arguments, tiled.api_key))
    publisher = FramePublisher(f"127.0.0.1:{port_in}")
    stack.callback(publisher.close)
    publisher.wait_connected(10)
    return service, publisher


def _wait(service: Child, timeout: float = 120.0) -> None:
    if status := service.wait(timeout):
        raise RigError(service.story(f"ended with status {status}"))


@contextmanager
def _client(tiled: EmbeddedTiled) -> Iterator[Any]:
    from tiled.client import from_uri

    client = from_uri(tiled.uri)
    try:
        yield client
    finally:
        client.context.close()


def measure_stream(
    documents: list[NamedDocument], rate: float, folder: Path, progress: Progress = no_progress
) -> StreamFigures:
    """Publish a run at a fixed rate of sample frames and read what has arrived in Tiled.

    Raises
    ------
    RigError
        If a process does not start, or the run does not end.
    """
    with ExitStack() as stack:
        tiled = stack.enter_context(EmbeddedTiled(folder / "tiled"))
        service, publisher = _start_system(stack, tiled, folder)
        begin = time.monotonic()
        frames = publish(documents, rate, publisher, progress)
        end = time.monotonic()
        _wait(service)
        lag = time.monotonic() - end
        run = stack.enter_context(_client(tiled)).values().first()
        rows = run["frames"].read()
        # what is revised after the stop is late by design
        latency = rows.loc[rows["revision"] == 0, "latency"]
        return StreamFigures(
            frames=frames,
            in_tiled=min(rows["frame"].nunique(), run["frames"]["aligned"].shape[0]),
            rate=frames / (end - begin),
            lag=lag,
            latency_p50=float(np.percentile(latency, 50)),
            latency_p95=float(np.percentile(latency, 95)),
            ledger=dict(run.metadata["stop"]["ledger"]),
            dropped=publisher.counters().dropped,
        )


def measure_dashboard(
    documents: list[NamedDocument],
    rate: float,
    viewers: int,
    folder: Path,
    progress: Progress = no_progress,
    picture: Path | None = None,
) -> RunFigures:
    """Publish a run at a fixed rate, with pages open on it in Chromium.

    Parameters
    ----------
    documents : of a raw run. rate : sample frames/s. viewers : pages; 0 starts no dashboard.
    folder : for data and logs. progress : is called for each frame.
    picture : file for a picture of the page towards the end of the run; taking it holds up one
        page for about a second.

    Raises
    ------
    ConfigError, RigError
        Something that is needed is not installed, or a process failed.
    """
    with ExitStack() as stack:
        tiled = stack.enter_context(EmbeddedTiled(folder / "tiled"))
        service, publisher = _start_system(stack, tiled, folder)
        audience = _Audience(stack, tiled, folder, viewers)
        counter = _Counter(progress)
        sending = threading.Thread(
            target=publish, args=(documents, rate, publisher, counter), daemon=True
        )
        began, tiled_before = time.monotonic(), cpu_seconds(tiled.pid or 0)
        sending.start()
        counter.wait_for(_SETTLE_FRAMES, 60)
        _wait_for_image(tiled)
        audience.open()
        if picture is not None and viewers:
            counter.wait_for(int(_PICTURE_AT * len(sample_events(documents))), 600)
            audience.picture(picture)
        sending.join()
        _wait(service)
        tiled_cpu = (cpu_seconds(tiled.pid or 0) - tiled_before) / (time.monotonic() - began)
        times, results = _results(tiled)
        latency = results - times
        return RunFigures(
            rate=(len(results) - 1) / float(results[-1] - results[0]),
            latency_p50=float(np.percentile(latency, 50)),
            latency_p95=float(np.percentile(latency, 95)),
            tiled_cpu=tiled_cpu,
            load=os.getloadavg()[0],
            cores=os.cpu_count() or 1,
            seen=audience.seen(times, results) if viewers else None,
        )


class _Audience:
    """A dashboard and its viewers: pages of one Chromium."""

    def __init__(self, stack: ExitStack, tiled: EmbeddedTiled, folder: Path, viewers: int) -> None:
        self._pages: list[Any] = []
        self._firsts: list[float] = []
        if viewers:
            self._child, self._address = start_dashboard(folder, tiled.base_uri, tiled.api_key)
            stack.enter_context(self._child)
            browser = stack.enter_context(chromium())
            self._pages = [browser.new_page(viewport=_PAGE) for _ in range(viewers)]

    def open(self) -> None:
        """Open the pages, one after the other, each until it shows a picture."""
        self._began = time.monotonic()
        for page in self._pages:
            page.goto(self._address)
            page.wait_for_function("() => window.operando?.seen.first", timeout=60_000)
            self._firsts.append(float(page.evaluate("operando.seen.first")) / 1000)

    def picture(self, path: Path) -> None:
        """Save a picture of a page."""
        self._pages[-1].screenshot(path=str(path), full_page=True)

    def seen(self, times: Times, results: Times) -> ViewerRecord:
        """Ask the pages what they showed when."""
        elapsed = time.monotonic() - self._began
        cpu = cpu_seconds(self._child.process.pid) / elapsed
        delays: list[float] = []
        after: list[float] = []
        updates: list[float] = []
        for page in self._pages:
            shown = page.evaluate("operando.seen.shown")
            frames = np.array([entry["frame"] for entry in shown])
            at = np.array([entry["at"] for entry in shown])
            for frame in np.flatnonzero(times > at[0]):
                then = at[frames >= frame].min(initial=np.inf)
                delays.append(float(then - times[frame]))
                after.append(float(then - results[frame]))
            live = at[at <= times[-1] + 1.0]
            updates.append((len(live) - 1) / max(float(live[-1] - live[0]), 1e-9))
        if not delays:
            raise RigError("the run was over before a page showed it; make it longer")
        p50, p95, longest = (float(v) for v in np.percentile(delays, (50, 95, 100)))
        return ViewerRecord(
            first_picture=tuple(self._firsts),
            delay_p50=p50,
            delay_p95=p95,
            delay_max=longest,
            after_p50=float(np.percentile(after, 50)),
            after_p95=float(np.percentile(after, 95)),
            updates=float(np.mean(updates)),
            cpu=cpu,
        )


class _Counter:
    """Counts frames that were published, and lets another thread wait for them."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._changed = threading.Condition()
        self._count = 0.0

    def __call__(self, what: str, done: float, of: float) -> None:
        with self._changed:
            self._count = done
            self._changed.notify_all()
        self._progress(what, done, of)

    def wait_for(self, count: int, timeout: float) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: self._count >= count, timeout):
                raise RigError(f"only {self._count} of {count} frames were published in time")


def _wait_for_image(tiled: EmbeddedTiled) -> None:
    """Wait until there is something to see in Tiled: pages come late."""
    deadline = time.monotonic() + _IMAGE_WAIT_S
    with _client(tiled) as client:
        while not (len(client) and {"frames"} <= set(run := client.values().first())) or not (
            {"rows", "aligned"} <= set(run["frames"].base)
        ):
            if time.monotonic() > deadline:
                raise RigError(f"no image in Tiled after {_IMAGE_WAIT_S:.0f} s")
            time.sleep(0.2)


def _results(tiled: EmbeddedTiled) -> tuple[Times, Times]:
    """Read when each frame was taken and when its first result was there, (n,) s each."""
    with _client(tiled) as client:
        rows = client.values().first()["frames"].read()
    first = rows[rows["revision"] == 0].sort_values("frame")
    times = first["time"].to_numpy(float)
    return times, times + first["latency"].to_numpy(float)


def dashboard_table(figures: dict[int, RunFigures]) -> Table:
    """Lay out runs without and with viewers, by their number."""
    rows: list[dict[str, Any]] = []
    for viewers, found in figures.items():
        seen = {} if found.seen is None else asdict(found.seen)
        first = ", ".join(f"{value:.2f}" for value in seen.get("first_picture", ()))
        row = {**asdict(found), **seen, "viewers": viewers, "first": first or None}
        rows.append({**row, "change": 100 * (found.rate / figures[0].rate - 1)})
    columns = (
        Column("viewers", "viewers", "d"),
        Column("rate", "results/s", ".2f"),
        Column("change", "change, %", "+.1f"),
        Column("latency_p50", "latency p50, s", ".3f"),
        Column("latency_p95", "p95", ".3f"),
        Column("first", "first picture, s"),
        Column("delay_p50", "shown after p50, s", ".2f"),
        Column("delay_p95", "p95", ".2f"),
        Column("delay_max", "longest", ".2f"),
        Column("after_p50", "after its result p50, s", ".2f"),
        Column("after_p95", "p95", ".2f"),
        Column("updates", "pictures/s", ".1f"),
        Column("cpu", "cores: dashboard", ".2f"),
        Column("tiled_cpu", "Tiled", ".2f"),
        Column("load", "load", ".1f"),
        Column("cores", "of cores", "d"),
    )
    return Table("a run without and with viewers", columns, rows)


# A headless Chromium for benchmarks and tests of web pages.


def find_chromium() -> str | None:
    """Find where Chromium is installed; None if it is not."""
    return next((path for name in _BROWSERS if (path := shutil.which(name))), None)


@contextmanager
def chromium() -> Iterator[Any]:
    """Start a headless Chromium; yields playwright's browser.

    Raises
    ------
    ConfigError
        Chromium or playwright is not installed.
    """
    path = find_chromium()
    if path is None:
        raise ConfigError("this needs Chromium: apt-get install chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise ConfigError("this needs playwright: pip install operando[browser]") from error
    # no window, so no graphics card; and the sandbox of Chromium refuses to run for root
    arguments = ["--disable-gpu", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        try:
            yield browser
        finally:
            browser.close()
