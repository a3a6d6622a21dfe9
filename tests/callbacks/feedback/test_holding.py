"""Advice that holds a real RunEngine."""

from __future__ import annotations

import threading
import time

import pytest
from bluesky import plan_stubs as bps

from operando.callbacks.feedback import HoldOnAdvice


def advice(kind="lagging", *, age=0.0, valid=1.0, active=True, severity="warning"):
    data = {
        "kind": kind, "severity": severity, "active": active, "data_time": time.time() - age,
        "valid_s": valid,
    }  # fmt: skip
    return "event", {"time": 0.0, "data": data}


@pytest.fixture
def hold():
    made = HoldOnAdvice()
    yield made
    made.close()


def until(condition, timeout=5.0):
    deadline = time.monotonic() + timeout
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_a_run_engine_waits_and_goes_on(run_engine, hold):
    run_engine.install_suspender(hold.suspender())
    timer = threading.Timer(0.3, hold, advice(valid=1.2))
    timer.start()

    def plan():
        for _ in range(10):
            yield from bps.sleep(0.1)

    began = time.monotonic()
    run_engine(plan())
    took = time.monotonic() - began
    timer.join()
    # a second by itself, and held from 0.3 s on for 1.2 s
    assert took > 1.0 + 1.0
    assert hold.signal.get() == 0


def test_a_hold_ends_when_the_advice_is_over(hold):
    hold(*advice(valid=60.0))
    assert hold.signal.get() == 1
    hold(*advice(active=False, severity="info"))
    assert hold.signal.get() == 0


def test_a_hold_ends_by_itself(hold):
    hold(*advice(valid=0.3))
    assert hold.signal.get() == 1
    assert until(lambda: hold.signal.get() == 0)


def test_advice_that_is_no_longer_valid_holds_nothing(hold):
    hold(*advice(age=10.0, valid=5.0))
    assert hold.signal.get() == 0


def test_the_longest_hold_is_bounded():
    hold = HoldOnAdvice(longest_s=0.2)
    hold(*advice(valid=1e6))
    assert hold.signal.get() == 1
    assert until(lambda: hold.signal.get() == 0)


def test_two_reasons_hold_until_both_are_gone(hold):
    hold(*advice("beam", valid=60.0))
    hold(*advice("lagging", valid=60.0))
    hold(*advice("beam", active=False))
    assert hold.signal.get() == 1
    hold(*advice("lagging", active=False))
    assert hold.signal.get() == 0


def test_other_advice_and_other_documents_do_not_hold(hold):
    hold(*advice("recenter", valid=60.0))
    hold("start", {"uid": "u"})
    hold("event", {"data": {"drift_y": 1.0}})
    assert hold.signal.get() == 0
