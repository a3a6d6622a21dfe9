"""How fast the dashboard shows what happens, and what its viewers cost the processing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...callbacks.publisher import FramePublisher
from ..frames import NamedDocument
from ..rig import RigError, start_dashboard, start_proxy, start_service
from ..tiled_server import EmbeddedTiled, free_port
from .browser import chromium
from .stream import publish

_SETTLE_FRAMES = 8
_LAST_SHARE = 0.9
_WIDTH, _HEIGHT = 1600, 1250


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the viewers saw of one run.

    Attributes
    ----------
    first_picture : s from opening the page to the first picture, per viewer.
    delay_p50, delay_p95, delay_max : s from a frame's event until it, or a later one, was shown;
        over all frames since the viewers were there, and all viewers.
    updates : pictures shown per second and viewer.
    """

    first_picture: tuple[float, ...]
    delay_p50: float
    delay_p95: float
    delay_max: float
    updates: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFigures:
    """One run: results/s and latency (s) of the processor, and what was seen of it."""

    rate: float
    latency_p50: float
    latency_p95: float
    seen: Seen | None


def measure_dashboard(
    documents: list[NamedDocument],
    rate: float,
    viewers: int,
    folder: Path,
    progress: Callable[[], object] = lambda: None,
    picture: Path | None = None,
) -> RunFigures:
    """Publish a run at a fixed rate, with pages open on it in Chromium.

    Parameters
    ----------
    documents : of a raw run. rate : sample frames/s. viewers : pages; 0 starts no dashboard.
    folder : for data and logs. progress : is called for each frame.
    picture : file for a picture of the page towards the end of the run.

    Raises
    ------
    ConfigError, RigError
        Something that is needed is not installed, or a process failed.
    """
    port_in, port_out = free_port(), free_port()
    with ExitStack() as stack:
        tiled = stack.enter_context(EmbeddedTiled(folder / "tiled"))
        stack.enter_context(start_proxy(folder, port_in, port_out))
        arguments = ["--zmq", f"127.0.0.1:{port_out}", "--tiled", tiled.base_uri]
        arguments += ["--frames-dir", str(tiled.frames_dir), "--profile", "sim_txm", "--runs", "1"]
        service = stack.enter_context(start_service(folder, arguments, tiled.api_key))
        publisher = FramePublisher(f"127.0.0.1:{port_in}")
        stack.callback(publisher.close)
        publisher.wait_connected(10)
        pages: list[Any] = []
        address = ""
        if viewers:
            child, address = start_dashboard(folder, tiled.base_uri, tiled.api_key)
            stack.enter_context(child)
            browser = stack.enter_context(chromium())
            size = {"width": _WIDTH, "height": _HEIGHT}
            pages = [browser.new_page(viewport=size) for _ in range(viewers)]
        counter = _Counter(progress)
        sending = threading.Thread(
            target=publish, args=(documents, rate, publisher, counter), daemon=True
        )
        sending.start()
        counter.wait_for(_SETTLE_FRAMES, 60)
        opened = time.time()
        firsts = tuple(_open(page, address) for page in pages)
        if pages and picture is not None:
            counter.wait_for(int(_LAST_SHARE * counter.expected(documents)), 600)
            pages[0].wait_for_timeout(1000)
            pages[0].screenshot(path=str(picture))
        sending.join()
        if service.wait(120):
            raise RigError(service.story("failed"))
        times, results = _results(tiled)
        seen = _seen(pages, firsts, times, opened) if pages else None
        latency = results - times
        return RunFigures(
            rate=(len(results) - 1) / float(results[-1] - results[0]),
            latency_p50=float(np.percentile(latency, 50)),
            latency_p95=float(np.percentile(latency, 95)),
            seen=seen,
        )


class _Counter:
    """Counts frames that were published, and lets another thread wait for them."""

    def __init__(self, progress: Callable[[], object]) -> None:
        self._progress = progress
        self._changed = threading.Condition()
        self._count = 0

    def __call__(self) -> None:
        with self._changed:
            self._count += 1
            self._changed.notify_all()
        self._progress()

    def wait_for(self, count: int, timeout: float) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: self._count >= count, timeout):
                raise RigError(f"only {self._count} of {count} frames were published in time")

    @staticmethod
    def expected(documents: list[NamedDocument]) -> int:
        primary = {d["uid"] for n, d in documents if n == "descriptor" and d["name"] == "primary"}
        return sum(n == "event" and d["descriptor"] in primary for n, d in documents)


def _open(page: Any, address: str) -> float:
    """Open a page; return the s from then until it showed a picture."""
    page.goto(address)
    page.wait_for_function("() => window.operando?.seen.first", timeout=30_000)
    return float(page.evaluate("operando.seen.first")) / 1000


def _results(tiled: EmbeddedTiled) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """When each frame was taken and when its first result was there, (n,) s each."""
    from tiled.client import from_uri

    client = from_uri(tiled.uri)
    rows = client.values().first()["frames"].read()
    client.context.close()
    first = rows[rows["revision"] == 0].sort_values("frame")
    times = first["time"].to_numpy(float)
    return times, times + first["latency"].to_numpy(float)


def _seen(
    pages: list[Any], firsts: tuple[float, ...], times: NDArray[np.float64], opened: float
) -> Seen:
    delays: list[float] = []
    updates: list[float] = []
    for page, first in zip(pages, firsts, strict=True):
        shown = page.evaluate("operando.seen.shown")
        frames = np.array([entry["frame"] for entry in shown])
        at = np.array([entry["at"] for entry in shown])
        there = float(at[0])
        wanted = np.flatnonzero(times > max(there, opened + first))
        for frame in wanted:
            later = at[frames >= frame]
            delays.append(float(later.min() - times[frame]) if later.size else float("inf"))
        live = at[at <= times[-1] + 1.0]
        updates.append((len(live) - 1) / max(float(live[-1] - live[0]), 1e-9))
    p50, p95, longest = (float(v) for v in np.percentile(delays, (50, 95, 100)))
    return Seen(
        first_picture=firsts,
        delay_p50=p50,
        delay_p95=p95,
        delay_max=longest,
        updates=float(np.mean(updates)),
    )
