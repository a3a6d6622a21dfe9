"""The queue bounds bytes, keeps order and tells what it refused."""

from __future__ import annotations

import threading
import time

from operando.streamer.io.wire.queue import ByteQueue

MB = 1 << 20


def test_first_in_first_out_up_to_a_maximum():
    queue = ByteQueue[int](100)
    for i in range(5):
        assert queue.put(i, 1)
    assert queue.take(2) == [0, 1]
    assert queue.counters().queued_bytes == 3
    assert queue.take(10) == [2, 3, 4]
    assert queue.take(10, timeout=0.0) == []


def test_drop_refuses_and_counts():
    queue = ByteQueue[int](100, "drop")
    assert [queue.put(i, 40) for i in range(4)] == [True, True, False, False]
    counters = queue.counters()
    assert (counters.queued, counters.queued_bytes) == (2, 80)
    assert (counters.dropped, counters.dropped_bytes) == (2, 80)


def test_an_oversize_item_is_admitted_when_empty_only():
    queue = ByteQueue[str](100, "drop")
    assert queue.put("big", 500)
    assert not queue.put("small", 1)
    assert queue.take() == ["big"]
    assert queue.put("small", 1)
    assert not queue.put("big", 500)


def test_essential_items_have_a_reserve_that_ends():
    queue = ByteQueue[int](4 * MB, "drop")
    assert queue.put(0, 4 * MB)
    assert not queue.put(1, 1000)
    assert queue.put(2, 1000, essential=True)
    assert queue.put(3, MB - 1000, essential=True)
    assert not queue.put(4, 1000, essential=True)


def test_block_waits_for_room():
    queue = ByteQueue[int](100, "block")
    queue.put(0, 100)
    admitted = threading.Event()
    thread = threading.Thread(target=lambda: queue.put(1, 100) and admitted.set())
    thread.start()
    assert not admitted.wait(0.1)
    assert queue.take(1) == [0]
    assert admitted.wait(2)
    thread.join()
    assert queue.take(1) == [1]
    assert queue.counters().dropped == 0


def test_close_wakes_the_blocked_and_keeps_what_is_queued():
    queue = ByteQueue[int](100, "block")
    queue.put(0, 100)
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(queue.put(1, 100)))
    thread.start()
    time.sleep(0.05)
    queue.close()
    thread.join(2)
    assert results == [False]
    assert not queue.exhausted
    assert queue.take(5) == [0]
    assert queue.exhausted
    assert queue.take(5, timeout=None) == []


def test_many_producers_lose_nothing_and_keep_their_order():
    queue = ByteQueue[tuple[int, int]](50, "block")

    def produce(who: int) -> None:
        for i in range(200):
            queue.put((who, i), 7)

    threads = [threading.Thread(target=produce, args=(who,)) for who in range(3)]
    for thread in threads:
        thread.start()
    got: list[tuple[int, int]] = []
    while len(got) < 600:
        batch = queue.take(16, timeout=5)
        assert batch, "stalled"
        got += batch
    for thread in threads:
        thread.join()
    for who in range(3):
        assert [i for w, i in got if w == who] == list(range(200))
