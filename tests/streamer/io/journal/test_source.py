"""The journal as a source, and the keeper that fills it from real sockets."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import zmq

from operando.streamer.errors import JournalError
from operando.streamer.io.journal import JournalSettings, JournalWriter
from operando.streamer.io.journal.segments import JournalFolder
from operando.streamer.io.recording.reader import read_documents
from operando.streamer.io.sources.journal import JournalSource, JournalSourceSettings
from operando.streamer.io.sources.zmq import ZmqSource, ZmqSourceSettings
from operando.streamer.io.wire.message import pack
from operando.streamer.service.keeper import Keeper


@pytest.fixture
def folder(tmp_path):
    return JournalFolder(tmp_path / "journal")


def source_of(folder, **settings):
    return JournalSource(JournalSourceSettings(folder=folder.path, **settings))


def write(writer, numbers):
    for i in numbers:
        writer.append(pack("event", {"uid": f"e{i}"}), "event", 1e9 + i)


def uids(items):
    return [item.doc["uid"] for item in items]


def test_what_is_written_while_reading_comes_too_and_closing_ends_it(folder):
    with JournalWriter(folder) as writer, source_of(folder) as source:
        write(writer, range(5))
        assert uids(source.drain(3)) == ["e0", "e1", "e2"]
        assert source.behind > 0
        write(writer, range(5, 8))
        source.close()
        write(writer, range(8, 10))  # comes too late
        taken = []
        while not source.exhausted:
            taken += source.drain(2)
        assert uids(taken)[:5] == ["e3", "e4", "e5", "e6", "e7"]


def test_reading_goes_on_from_a_position(folder):
    with JournalWriter(folder) as writer:
        write(writer, range(6))
    with source_of(folder) as source:
        source.drain(4)
        position = source.position
    with source_of(folder, position=position) as source:
        assert uids(source.drain()) == ["e4", "e5"]


def test_waiting_for_a_document_ends_when_it_comes(folder):
    with JournalWriter(folder) as writer, source_of(folder) as source:
        timer = threading.Timer(0.1, write, (writer, [1]))
        timer.start()
        began = time.monotonic()
        assert uids(source.drain(5, timeout=10)) == ["e1"]
        assert time.monotonic() - began < 5
        timer.join()


def test_two_readers_are_one_too_many(folder):
    with source_of(folder), pytest.raises(JournalError, match="another process"):
        source_of(folder).drain()


@pytest.fixture
def keeping(folder):
    """A keeper behind a real publisher that binds."""
    with zmq.Context() as context:
        publisher = context.socket(zmq.PUB)
        port = publisher.bind_to_random_port("tcp://127.0.0.1")
        stop = threading.Event()

        def start(**settings):
            source = ZmqSource(ZmqSourceSettings(address=f"127.0.0.1:{port}"))
            keeper = Keeper(source, folder, JournalSettings(**settings), f"127.0.0.1:{port}")

            def run():
                with source:
                    keeper.run(stop)

            thread = threading.Thread(target=run)
            thread.start()
            return thread

        threads = []
        yield publisher, lambda **settings: threads.append(start(**settings)), stop
        stop.set()
        for thread in threads:
            thread.join()
        publisher.close(linger=0)


def test_a_keeper_writes_what_is_published(folder, keeping):
    publisher, start, _ = keeping
    start()
    with source_of(folder) as source:
        assert source.wait_ready(10)
        for i in range(20):
            image = np.full((50, 50), i, np.uint16)
            publisher.send(pack("event", {"uid": f"e{i}", "data": {"image": image}}))
        publisher.send(b"garbage")
        taken = []
        while len(taken) < 20:
            taken += source.drain(timeout=5)
        assert uids(taken) == [f"e{i}" for i in range(20)]
        np.testing.assert_array_equal(taken[9].doc["data"]["image"], np.full((50, 50), 9))
        deadline = time.monotonic() + 5
        while source.counters().bad == 0 and time.monotonic() < deadline:
            time.sleep(0.05)
        counters = source.counters()
    assert (counters.decoded, counters.bad, counters.dropped) == (20, 1, 0)
    assert counters.queued_bytes == 0


def test_a_full_journal_drops_images_and_says_how_many(folder, keeping):
    publisher, start, _ = keeping
    start(max_gb=40e-6, segment_mb=0.01)
    with source_of(folder) as source:
        assert source.wait_ready(10)
        publisher.send(pack("start", {"uid": "run"}))
        for i in range(50):
            publisher.send(pack("event", {"uid": f"e{i}", "data": np.zeros(2000, np.uint8)}))
        publisher.send(pack("stop", {"uid": "stop"}))
        taken = []
        while "stop" not in uids(taken):
            taken += source.drain(timeout=5)
        time.sleep(0.5)
        dropped = source.counters().dropped
        assert dropped > 0
        assert len(taken) == 52 - dropped
        assert uids(taken)[0] == "run"

        source.confirm(source.position)  # now there is room again
        deadline = time.monotonic() + 5
        while len(folder.segments()) > 1 and time.monotonic() < deadline:
            time.sleep(0.05)
        publisher.send(pack("event", {"uid": "later", "data": np.zeros(2000, np.uint8)}))
        assert uids(source.drain(timeout=5)) == ["later"]


def test_a_keeper_that_nobody_reads_ends_by_itself(folder):
    source = ZmqSource(ZmqSourceSettings(address="127.0.0.1:1"))
    keeper = Keeper(source, folder, JournalSettings(linger_s=0.5), "127.0.0.1:1", linger=True)
    began = time.monotonic()
    with source:
        keeper.run(threading.Event())
    assert 0.4 < time.monotonic() - began < 10
    assert not folder.locked("keeper")


def test_a_journal_can_be_replayed_like_a_recording(folder):
    with JournalWriter(folder, JournalSettings(segment_mb=0.001)) as writer:
        write(writer, range(30))
    items = list(read_documents(folder.path))
    assert [item.doc["uid"] for item in items] == [f"e{i}" for i in range(30)]
    assert [item.arrival for item in items] == [1e9 + i for i in range(30)]
