"""The Tiled server dies while a run goes on, and comes back."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from operando.callbacks.processor.processor import StreamProcessor
from operando.callbacks.sinks.buffer import BufferedSink
from operando.callbacks.sinks.spool import Spool
from operando.callbacks.tiled.sink import TiledSink
from operando.streamer.io.tiled.settings import TiledSettings
from operando.streamer.lab.simulate import SimSettings, simulate_documents
from operando.streamer.service.tiled_server import EmbeddedTiled

pytestmark = pytest.mark.system


def settings_of(frames: int, side: int) -> SimSettings:
    return SimSettings(
        shape=(side, side),
        n_particles=4,
        radius_px=(13, 18),
        energies=tuple(np.linspace(8340, 8370, frames)),
        chunk=1,
        jitter_px=1.0,
        drift_px=3.0,
        wander_px=1.0,
    )


def outage(
    folder: Path, sim: SimSettings, away_s: float, memory: int, results: Any, connect: Any
) -> dict[str, float]:
    """Process a run during which the server is killed; compare with what came out; give figures."""
    emitted: list[tuple[str, Any]] = []
    server = EmbeddedTiled(folder / "tiled")
    server.start()
    tiled = TiledSettings(frames="http", tick_s=0.05, retry_s=(0.1, 1.0), flush_bytes=memory // 8)
    sink = BufferedSink(TiledSink(server.uri, tiled), memory, spool=Spool(folder / "spool"))
    processor = StreamProcessor("sim_txm")
    processor.subscribe(sink)
    processor.subscribe(lambda name, doc: emitted.append((name, doc)))
    documents = list(simulate_documents(sim))
    third = len(documents) // 3
    speed = []
    try:
        for part in (documents[:third], documents[third : 2 * third], documents[2 * third :]):
            before, began = len(emitted), time.monotonic()
            for name, doc in part:
                processor(name, doc)
            speed.append((len(emitted) - before) / (time.monotonic() - began))
            if len(speed) == 1:
                assert server.pid is not None
                os.kill(server.pid, signal.SIGKILL)
                server.stop()
                confirmed = sink.confirmed
                back = threading.Timer(away_s, server.start)
                back.start()
        assert confirmed < sink.received
        processor.close()
        back.join()
        assert sink.flush(120)
        assert sink.confirmed == sink.received == len(emitted)
        counts = sink.counts
        assert (counts.stripped, counts.dropped, counts.lost, counts.errors) == (0, 0, 0, 0)
        assert counts.blocked == 0
        assert counts.peak_bytes <= memory
        client = connect(server)
        (uid,) = client
        assert client[uid]["frames"].read()["seq_num"].is_monotonic_increasing
        results.of_tiled(client[uid]).assert_equal(results.of_documents(emitted))
    finally:
        sink.close(1)
        server.stop()
    return {
        "documents/s before": speed[0],
        "documents/s while away": speed[1],
        "documents/s at the end": speed[2],
        "spooled": counts.spooled,
        "peak queue MB": counts.peak_bytes / 1e6,
        "peak RSS MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }


def test_results_are_those_that_were_emitted_though_the_server_was_killed_in_between(
    tmp_path: Path, results: Any, connect: Callable[..., Any]
) -> None:
    figures = outage(tmp_path, settings_of(30, 200), 1.0, 2_000_000, results, connect)
    assert figures["spooled"] > 20


@pytest.mark.slow
@pytest.mark.skipif("OPERANDO_OUTAGE_S" not in os.environ, reason="set OPERANDO_OUTAGE_S to run")
def test_a_long_outage_measured(
    tmp_path: Path, results: Any, connect: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    away = float(os.environ["OPERANDO_OUTAGE_S"])
    figures = outage(tmp_path, settings_of(143, 460), away, 64_000_000, results, connect)
    with capsys.disabled():
        print(f"\n{away:.0f} s away:", {k: round(v, 1) for k, v in figures.items()})  # noqa: T201
