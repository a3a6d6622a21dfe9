"""End to end at a given rate: publisher, proxy, service and Tiled as processes on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ....callbacks.publisher import FramePublisher
from ...core.frames import NamedDocument
from ...service.tiled_server import EmbeddedTiled, free_port
from ..rig import Child, RigError, start_proxy, start_service
from ..simulate import ni_edge_energies, preset, simulate_documents

_ENERGIES = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFigures:
    """What was measured.

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


def prepare_documents(
    preset_name: str, frames: int, progress: Callable[[], object] = lambda: None
) -> list[NamedDocument]:
    """Render a run beforehand, so that the simulator takes no time from what is measured.

    The energies go over the edge again and again; the flats of all of them come first.

    Parameters
    ----------
    preset_name : what is simulated. frames : number of sample frames.
    progress : is called for each event.
    """
    scan = ni_edge_energies(min(frames, _ENERGIES))
    energies = tuple(float(e) for e in np.resize(scan, frames))
    settings = preset(preset_name, energies=energies)
    documents: list[NamedDocument] = []
    flats: set[str] = set()
    for name, doc in simulate_documents(settings, order="flat_first", chunk=1):
        if name == "descriptor" and doc["name"] == "flat":
            flats.add(doc["uid"])
        if name == "event":
            progress()
            if doc["descriptor"] in flats and doc["seq_num"] > len(scan):
                continue
        documents.append((name, doc))
    return documents


def measure_stream(
    documents: list[NamedDocument],
    rate: float,
    folder: Path,
    progress: Callable[[], object] = lambda: None,
) -> StreamFigures:
    """Publish a run at a fixed rate of sample frames and read what has arrived in Tiled.

    Raises
    ------
    RigError
        If a process does not start, or the run does not end.
    """
    from tiled.client import from_uri

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
        begin = time.monotonic()
        frames = publish(documents, rate, publisher, progress)
        end = time.monotonic()
        _wait(service, 120)
        lag = time.monotonic() - end
        run = from_uri(tiled.uri).values().first()
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


def publish(
    documents: list[NamedDocument],
    rate: float,
    publisher: FramePublisher,
    progress: Callable[[], object],
) -> int:
    """Send the documents, sample frames at the rate, with the time of their sending.

    Returns the number of sample frames; `progress` is called before each.
    """
    sample = {d["uid"] for n, d in documents if n == "descriptor" and d["name"] == "primary"}
    frames = 0
    due = time.monotonic()
    for name, doc in documents:
        if name == "event" and doc["descriptor"] in sample:
            due = max(due, time.monotonic() - 1.0) + 1.0 / rate
            time.sleep(max(0.0, due - time.monotonic()))
            frames += 1
            progress()
        publisher(name, {**doc, "time": time.time()} if "time" in doc else doc)
    return frames


def _wait(service: Child, timeout: float) -> None:
    status = service.wait(timeout)
    if status:
        raise RigError(service.story(f"ended with status {status}"))
