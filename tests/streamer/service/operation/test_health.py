"""Health of a service: what fails, and what that means."""

from __future__ import annotations

import threading

import pytest

from operando.streamer.io.sources import make_source
from operando.streamer.service.operation.monitor import CheckResult, Health, Heartbeat, Monitor


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_the_report_names_what_fails():
    health = Health()
    health.add("good", lambda: CheckResult(True, {"n": 1}), vital=True)
    health.add("bad", lambda: CheckResult(False, {"n": 2}))
    well, report = health.report()
    assert not well
    assert report["failing"] == ["bad"]
    assert report["good"] == {"ok": True, "n": 1}
    alive, report = health.alive()
    assert alive
    assert "bad" not in report


def test_a_check_that_raises_fails_and_tells_no_secret():
    health = Health()

    def broken():
        raise OSError("http://h?api_key=abcdef1234 is away")

    health.add("broken", broken)
    well, report = health.report()
    assert not well
    assert "OSError" in report["broken"]["error"]
    assert "abcdef1234" not in str(report)


def test_a_heartbeat_tells_work_and_silence():
    clock = Clock()
    heartbeat = Heartbeat(clock)
    clock.now += 3
    assert heartbeat.pulse().silent_for == 3
    assert heartbeat.pulse().document_age is None
    with heartbeat.work(5):
        clock.now += 2
        assert heartbeat.pulse().busy_for == 2
        heartbeat.beat()
        assert heartbeat.pulse().silent_for == 0
        clock.now += 1
    clock.now += 4
    pulse = heartbeat.pulse()
    assert (pulse.silent_for, pulse.busy_for, pulse.document_age) == (4, None, 7)
    assert (pulse.documents, pulse.seconds) == (5, 3)


def test_work_that_fails_is_no_longer_in_work():
    heartbeat = Heartbeat()
    with pytest.raises(ValueError, match="no"), heartbeat.work(1):
        raise ValueError("no")
    assert heartbeat.pulse().busy_for is None


def test_a_stuck_processor_is_neither_healthy_nor_alive():
    entered, leave = threading.Event(), threading.Event()

    class Stuck:
        def process(self, documents):
            entered.set()
            leave.wait(10)

        def close(self):
            pass

    with make_source("memory") as source:
        monitor = Monitor(source, stuck_after=0.2)
        watched = monitor.watch(Stuck(), {})
        with monitor.serving(None):
            assert monitor.health.alive()[0]
            assert monitor.health.report()[0]
            thread = threading.Thread(target=watched.process, args=([("start", {})],))
            thread.start()
            assert entered.wait(5)
            assert not leave.wait(0.4)
            alive, report = monitor.health.alive()
            assert not alive
            assert report["processor"]["stuck"]
            assert report["processor"]["busy_for"] > 0.2
            leave.set()
            thread.join()
            assert monitor.health.alive()[0]
        assert not monitor.health.alive()[0], "a service that has ended is not alive"


def test_a_source_without_connection_is_unhealthy_but_no_reason_for_a_restart():
    source = make_source("zmq", address="127.0.0.1:9")
    monitor = Monitor(source)
    with monitor.serving(None):
        well, report = monitor.health.report()
        assert not well
        assert report["failing"] == ["source"]
        assert report["source"]["connected"] is False
        assert monitor.health.alive()[0]
