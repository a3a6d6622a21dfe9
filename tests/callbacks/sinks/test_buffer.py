"""The buffer between processor and sinks."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np

from operando.callbacks.sinks.buffer import BufferedSink
from operando.callbacks.sinks.protocols import SINKS, resolve_sink

IMAGE = np.zeros((100, 100), np.float32)


class Gate:
    """A sink that takes documents only while it is open."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.got: list[tuple[str, Any]] = []

    def __call__(self, name: str, doc: Any) -> None:
        self.open.wait(10)
        self.got.append((name, doc))


def event(i: int) -> dict[str, Any]:
    return {"seq_num": i, "descriptor": "d", "time": 0.0, "data": {"i": i, "aligned": IMAGE}}


def numbers(gate: Gate) -> list[int]:
    return [doc["data"]["i"] for name, doc in gate.got if name == "event"]


def test_everything_arrives_in_order() -> None:
    gate = Gate()
    gate.open.set()
    sink = BufferedSink(gate)
    for i in range(50):
        sink("event", event(i))
    assert sink.flush(5)
    assert numbers(gate) == list(range(50))
    assert sink.close()
    assert sink.counts.delivered == 50
    assert sink.counts.queued_bytes == 0


def test_a_stuck_sink_costs_one_wait_and_no_row() -> None:
    gate = Gate()
    sink = BufferedSink(gate, max_bytes=5 * 45_000, max_wait=0.2)
    began = time.monotonic()
    for i in range(40):
        sink("event", event(i))
    sink("stop", {"run_start": "r"})
    assert 0.2 <= time.monotonic() - began < 0.6
    counts = sink.counts
    assert counts.queued_bytes <= 5 * 45_000 + 40 * 2048
    assert counts.stripped > 30
    gate.open.set()
    assert sink.flush(5)
    assert numbers(gate) == list(range(40))
    assert gate.got[0][1]["data"]["aligned"] is IMAGE
    assert gate.got[39][1]["data"]["aligned"] is None
    assert gate.got[-1][0] == "stop"
    assert sink.close()


def test_a_raising_sink_is_counted_and_goes_on() -> None:
    got: list[int] = []

    def fussy(name: str, doc: Any) -> None:
        if doc["data"]["i"] == 1:
            raise ValueError("no ones")
        got.append(doc["data"]["i"])

    sink = BufferedSink(fussy)
    for i in range(3):
        sink("event", event(i))
    assert sink.flush(5)
    assert got == [0, 2]
    assert sink.counts.errors == 1
    assert sink.close()


def test_close_gives_up_in_time_when_the_sink_is_slow() -> None:
    def slow(name: str, doc: Any) -> None:
        time.sleep(0.05)

    sink = BufferedSink(slow)
    for i in range(100):
        sink("event", event(i))
    began = time.monotonic()
    assert not sink.close(0.3)
    assert time.monotonic() - began < 2


def test_every_registered_sink_can_be_called_with_documents() -> None:
    for name in SINKS:
        assert callable(resolve_sink(name))
        assert hasattr(resolve_sink(name), "__call__")  # noqa: B004
    assert resolve_sink("operando.callbacks.sinks.buffer:BufferedSink") is BufferedSink
