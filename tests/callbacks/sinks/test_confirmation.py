"""Which documents a sink confirms, without and with a server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from operando.callbacks.sinks.buffer import BufferedSink
from operando.callbacks.sinks.protocols import AckCursor, ConfirmingSink
from operando.callbacks.tiled.sink import TiledSink
from operando.streamer.io.tiled.settings import TiledSettings
from operando.streamer.service.tiled_server import EmbeddedTiled, free_port

Documents = list[tuple[str, dict[str, Any]]]
IMAGE = np.zeros((100, 100), np.float32)


def event(i: int) -> dict[str, Any]:
    return {"seq_num": i, "descriptor": "d", "time": 0.0, "data": {"i": i, "aligned": IMAGE}}


class Slow:
    """Takes at once, confirms when told to."""

    def __init__(self) -> None:
        self.received = 0
        self.confirmed = 0

    def __call__(self, name: str, doc: Any) -> None:
        self.received += 1


class Gate:
    """Takes documents only while it is open."""

    def __init__(self) -> None:
        self.open = threading.Event()

    def __call__(self, name: str, doc: Any) -> None:
        assert self.open.wait(10)


def test_a_gap_holds_up_what_comes_after_it() -> None:
    cursor = AckCursor()
    for _ in range(5):
        number = cursor.number()
        if number != 3:  # given up on the way
            cursor.delivered(number)
    assert cursor.confirmed(None) == 0
    cursor.acknowledge(1)
    assert cursor.confirmed(None) == 1
    cursor.acknowledge(2)
    assert cursor.confirmed(None) == 3
    assert cursor.confirmed(2) == 1
    cursor.acknowledge(4)
    assert cursor.confirmed(None) == 5
    cursor.refuse(cursor.number())
    cursor.acknowledge(9)
    assert cursor.number() == 7
    assert cursor.confirmed(None) == 5


def test_a_plain_sink_confirms_what_it_took_and_what_it_refused() -> None:
    def fussy(name: str, doc: Any) -> None:
        if doc["data"]["i"] == 1:
            raise ValueError("no ones")

    sink = BufferedSink(fussy)
    assert isinstance(sink, ConfirmingSink)
    for i in range(4):
        sink("event", event(i))
    assert sink.flush(5)
    assert sink.received == sink.confirmed == 4
    assert sink.close()
    sink("event", event(4))
    assert (sink.received, sink.confirmed) == (5, 4)


def test_a_sink_behind_says_itself_what_is_safe() -> None:
    slow = Slow()
    slow("start", {})  # before it was wrapped
    sink = BufferedSink(slow)
    for i in range(10):
        sink("event", event(i))
    assert sink.flush(5)
    assert (sink.received, sink.confirmed) == (10, 0)
    slow.confirmed = 1
    assert sink.confirmed == 0
    slow.confirmed = 8
    assert sink.confirmed == 7
    assert sink.close()
    assert sink.confirmed == 7


def test_events_without_their_arrays_are_settled_in_their_turn() -> None:
    gate = Gate()
    sink = BufferedSink(gate, max_bytes=5 * 45_000, max_wait=0.0)
    for i in range(40):
        sink("event", event(i))
    assert sink.received == 40
    assert sink.confirmed < 40  # 0, or up to the oldest that waits
    gate.open.set()
    assert sink.flush(5)
    assert sink.confirmed == 40
    assert sink.close()


def test_what_close_could_not_deliver_is_never_confirmed() -> None:
    def slow(name: str, doc: Any) -> None:
        time.sleep(0.05)

    sink = BufferedSink(slow)
    for i in range(100):
        sink("event", event(i))
    assert not sink.close(0.3)
    assert 0 < sink.confirmed < 50
    assert sink.confirmed == sink.counts.delivered


def give(sink: Any, documents: Documents) -> None:
    for name, doc in documents:
        sink(name, doc)


def test_nothing_is_confirmed_by_a_server_that_is_away(
    documents: Callable[..., Documents],
) -> None:
    sink = TiledSink(f"http://127.0.0.1:{free_port()}?api_key=x", TiledSettings())
    give(sink, documents(3))
    assert sink.counts.errors > 0
    assert (sink.received, sink.confirmed) == (16, 0)
    sink.close()
    assert sink.confirmed == 0


@pytest.mark.system
@pytest.mark.parametrize("frames", ["hdf5", "http"])
def test_tiled_confirms_what_it_holds(
    frames: Any, tiled_server: EmbeddedTiled, documents: Callable[..., Documents]
) -> None:
    docs = documents(3)
    folder = str(tiled_server.frames_dir) if frames == "hdf5" else None
    settings = TiledSettings(frames=frames, frames_dir=folder, first_rows_s=1e3, first_rows=10)
    sink = TiledSink(tiled_server.uri, settings)
    give(sink, docs[:-1])
    assert not sink.flush(0.1)  # rows are held back until there are ten
    assert sink.received == 15
    assert sink.confirmed <= 3
    give(sink, docs[-1:])
    assert sink.confirmed == 16 or sink.flush(20)
    assert sink.confirmed == 16
    give(sink, documents(1)[1:])  # orphans are no reason to keep anything
    assert sink.confirmed == 16 + 7
    sink.close()


@pytest.mark.system
def test_confirmation_advances_under_load_that_never_pauses(
    tiled_server: EmbeddedTiled, documents: Callable[..., Documents]
) -> None:
    docs = documents(800, particles=1)
    settings = TiledSettings(
        frames="hdf5", frames_dir=str(tiled_server.frames_dir), first_rows_s=0.1, tick_s=0.05
    )
    sink = BufferedSink(TiledSink(tiled_server.uri, settings))
    marks: list[int] = []
    for name, doc in docs[:-1]:
        sink(name, doc)
        time.sleep(0.01)
        marks.append(sink.confirmed)
        assert marks[-1] <= len(marks)
        if len(set(marks)) > 4:  # four times something new was safe, and never a pause
            break
    given = len(marks)
    assert marks == sorted(marks)
    assert len(set(marks)) > 4
    assert sink.close()
    assert sink.confirmed == sink.received == given
