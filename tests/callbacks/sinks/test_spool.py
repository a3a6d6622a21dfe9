"""Documents that wait on disk."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from operando.callbacks.sinks.buffer import BufferedSink
from operando.callbacks.sinks.spool import PREFIX, Spool
from operando.streamer.errors import SinkError

RNG = np.random.default_rng(0)


def event(i: int, side: int = 100) -> dict[str, Any]:
    image = np.full((side, side), i, np.float32)
    return {"seq_num": i, "descriptor": "d", "time": 0.5, "data": {"i": i, "aligned": image}}


@contextmanager
def disk_takes(size: int) -> Iterator[None]:
    """Let the system refuse to make any file larger than `size` bytes, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_documents_come_back_as_they_went_in(tmp_path: Path) -> None:
    spool = Spool(tmp_path, segment_bytes=100_000)
    start = {"uid": "r", "time": 1.0, "shape": [3, None], "nested": {"a": [1, 2.5, "x", True]}}
    assert spool.append("start", start) == (False, 0)
    for i in range(10):
        assert spool.append("event", event(i)) == (False, 0)
    assert len(list(tmp_path.glob(f"{PREFIX}*/*.spool"))) == 4
    assert spool.nbytes > 10 * 40_000
    assert spool.pop() == (("start", start), 0)
    for i in range(10):
        (name, doc), held = spool.pop()
        assert (name, held) == ("event", 0)
        np.testing.assert_array_equal(doc["data"]["aligned"], event(i)["data"]["aligned"])
        assert doc["data"]["aligned"].dtype == np.float32
    assert spool.nbytes == 0
    assert not list(tmp_path.glob(f"{PREFIX}*/*.spool"))
    spool.close()
    assert not list(tmp_path.iterdir())


def test_beyond_its_bound_images_are_taken_out_and_rows_stay(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 100_000)
    assert [spool.append("event", event(i)) for i in range(5)] == [(False, 0)] * 2 + [(True, 0)] * 3
    found = [spool.pop()[0][1]["data"] for _ in range(5)]
    assert [data["i"] for data in found] == list(range(5))
    assert [data["aligned"] is None for data in found] == [False] * 2 + [True] * 3
    spool.close()


def test_space_that_others_need_is_left_free(tmp_path: Path) -> None:
    spool = Spool(tmp_path, reserve_bytes=1 << 60)
    assert spool.append("event", event(0)) == (True, 0)
    spool.close()


def test_a_full_disk_costs_images_and_no_row(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    with disk_takes(100_000):
        for i in range(4):
            spool.append("event", event(i))
    with disk_takes(0):
        bare, held = spool.append("event", event(4))  # not even the row fits
        assert bare
        assert 0 < held < 10_000
    spool.append("event", event(5))
    found = [spool.pop()[0][1]["data"] for _ in range(6)]
    assert [data["i"] for data in found] == list(range(6))
    assert [data["aligned"] is not None for data in found] == [
        True,
        True,
        False,
        False,
        False,
        True,
    ]
    spool.close()


def test_what_has_no_safe_encoding_waits_in_memory(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    odd = {"uid": "r", "when": Path("x")}
    assert spool.append("start", odd)[1] > 0
    spool.append("event", event(1))
    assert spool.pop()[0] == ("start", odd)
    assert spool.pop()[0][1]["seq_num"] == 1
    spool.close()


def test_a_spoilt_file_is_an_error_and_no_end(tmp_path: Path) -> None:
    spool = Spool(tmp_path, segment_bytes=1)
    for i in range(3):
        spool.append("event", event(i))
    middle = sorted(tmp_path.glob(f"{PREFIX}*/*.spool"))[1]
    middle.write_bytes(b"\xff" * 100)
    assert spool.pop()[0][1]["seq_num"] == 0
    with pytest.raises(SinkError, match="cannot be read back"):
        spool.pop()
    assert spool.pop()[0][1]["seq_num"] == 2
    spool.close()


def test_folders_of_killed_processes_are_removed_and_those_of_living_ones_are_not(
    tmp_path: Path,
) -> None:
    script = (
        "import sys, time\nfrom operando.callbacks.sinks.spool import Spool\n"
        "spool = Spool(sys.argv[1])\nspool.append('start', {'uid': 'r'})\n"
        "print('ready', flush=True)\ntime.sleep(60)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        Spool(tmp_path)
        assert len(list(tmp_path.iterdir())) == 1
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()
    Spool(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match=r"tiled\.spool_dir"):
        Spool(tmp_path / "file" / "below")


class Jammed:
    """A sink that takes nothing while it is congested."""

    def __init__(self) -> None:
        self.congested = True
        self.got: list[dict[str, Any]] = []

    def __call__(self, name: str, doc: Any) -> None:
        assert not self.congested
        self.got.append(doc["data"])

    def tick(self) -> float | None:
        return None


def test_a_jammed_sink_costs_callers_nothing_and_gets_everything_in_order(tmp_path: Path) -> None:
    jammed, bound = Jammed(), 20 * 42_048
    sink = BufferedSink(jammed, bound, spool=Spool(tmp_path, segment_bytes=500_000))
    spent = 0.0
    for i in range(200):
        began = time.thread_time()
        sink("event", event(i))
        spent += time.thread_time() - began
        time.sleep(0.001)
    assert spent < 0.2
    assert sink.received == 200
    assert sink.confirmed == 0
    counts = sink.counts
    assert counts.peak_bytes <= bound
    assert counts.spooled >= 150
    assert counts.queued == 200
    jammed.congested = False
    assert sink.flush(20)
    assert [data["i"] for data in jammed.got] == list(range(200))
    assert all(data["aligned"][0, 0] == data["i"] for data in jammed.got)
    assert sink.confirmed == 200
    counts = sink.counts
    assert (counts.stripped, counts.dropped, counts.lost, counts.queued_bytes) == (0, 0, 0, 0)
    assert sink.close()
    assert not list(tmp_path.iterdir())


def test_order_is_kept_while_documents_go_in_and_out_at_once(tmp_path: Path) -> None:
    jammed = Jammed()
    sink = BufferedSink(jammed, 10 * 42_048, spool=Spool(tmp_path, segment_bytes=300_000))
    stop = threading.Event()

    def toggle() -> None:
        while not stop.wait(0.01):
            jammed.congested = not jammed.congested

    Jammed.__call__, strict = (lambda self, _, doc: self.got.append(doc["data"])), Jammed.__call__
    thread = threading.Thread(target=toggle)
    thread.start()
    try:
        for i in range(300):
            sink("event", event(i))
            assert sink.confirmed <= i + 1
            time.sleep(0.001)
    finally:
        stop.set()
        thread.join()
        Jammed.__call__ = strict  # type: ignore[method-assign]
    jammed.congested = False
    assert sink.flush(20)
    assert [data["i"] for data in jammed.got] == list(range(300))
    assert sink.counts.spooled > 0
    assert sink.counts.stripped == 0
    assert sink.close()


def test_a_document_lost_on_the_way_is_counted_and_never_confirmed(tmp_path: Path) -> None:
    jammed = Jammed()
    sink = BufferedSink(jammed, 4 * 42_048, spool=Spool(tmp_path, segment_bytes=1))
    for i in range(20):
        sink("event", event(i))
        time.sleep(0.005)
    second = sorted(tmp_path.glob(f"{PREFIX}*/*.spool"))[1]
    second.write_bytes(b"")
    jammed.congested = False
    assert sink.flush(20)
    assert [data["i"] for data in jammed.got] == [0, *range(2, 20)]
    assert sink.counts.lost == 1
    assert sink.confirmed == 1
    assert sink.close()


def test_close_while_the_sink_is_jammed_ends_in_time_and_says_what_is_left(tmp_path: Path) -> None:
    sink = BufferedSink(Jammed(), 4 * 42_048, spool=Spool(tmp_path))
    for i in range(20):
        sink("event", event(i))
    began = time.monotonic()
    assert not sink.close(0.5)
    assert time.monotonic() - began < 8
    assert sink.counts.queued == 20
    assert sink.confirmed == 0
    assert not list(tmp_path.iterdir())
