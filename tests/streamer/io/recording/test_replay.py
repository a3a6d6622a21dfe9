"""The pace of a replay is that of the recording, whatever its clocks say."""

from __future__ import annotations

import math

import pytest

from operando.streamer.errors import ConfigError
from operando.streamer.io.recording.dialects import Recorded
from operando.streamer.io.recording.replay import document_time, replay


class Clock:
    """A clock that only sleeping, and a consumer, move."""

    def __init__(self) -> None:
        self.now = 50.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.waits.append(round(seconds, 6))
        self.now += seconds


def play(items, speed=1.0, consumer=0.0, **settings) -> list[float]:
    clock = Clock()
    for _ in replay(items, speed, sleep=clock.sleep, clock=clock, **settings):
        clock.now += consumer
    return clock.waits


def arrived(*times) -> list[Recorded]:
    return [Recorded("event", {"time": 0.0}, t) for t in times]


def stamped(*times) -> list[Recorded]:
    return [Recorded("event", {} if t is None else {"time": t}) for t in times]


def test_times_of_arrival_set_the_pace():
    assert play(arrived(10, 11, 13.5)) == [1, 2.5]
    assert play(arrived(10, 11, 13.5), speed=10) == [0.1, 0.25]


def test_max_never_waits():
    assert play(arrived(10, 11, 13.5), speed="max") == []


def test_without_arrivals_the_documents_tell():
    assert play(stamped(10, None, 11, 13)) == [1, 2]


def test_a_recording_that_loses_its_arrivals_goes_on():
    items = [Recorded("event", {"time": 100.0 + t}, 1e9 + t) for t in (0, 1, 2)]
    items.append(Recorded("event", {"time": 105.0}))
    assert play(items) == [1, 1, 3]


def test_insane_clocks_do_not_stall():
    assert play(stamped(10, 11, 1e12, 12, 13), max_gap=5) == [1, 5, 1]
    assert play(stamped(10, math.nan, math.inf, -math.inf, 11)) == [1]
    assert play(stamped(10, "noon", True, 11)) == [1]
    assert play(arrived(10, 1e15, 5, 6), max_gap=2) == [2, 1]


def test_the_time_of_the_consumer_is_not_added():
    assert play(arrived(0, 1, 2, 3), consumer=0.4) == [0.6, 0.6, 0.6]
    assert play(arrived(0, 1, 2, 10), consumer=2.0) == [4.0]


def test_documents_pass_through_unchanged():
    items = arrived(1, 2, 3)
    assert list(replay(items, "max")) == items
    assert [id(item) for item in replay(items, 1e9)] == [id(item) for item in items]


@pytest.mark.parametrize("speed", [0, -1, math.nan, "fast", None])
def test_speeds_that_make_no_sense(speed):
    with pytest.raises(ConfigError, match="speed"):
        list(replay([], speed))


def test_the_time_of_a_page_is_that_of_its_last_event():
    assert document_time({"time": [1.0, 2.0]}) == 2.0
    assert document_time({"time": []}) is None
    assert document_time({}) is None
