"""A scan of bluesky waits while an operator holds it: stock parts, as the README has them."""

from __future__ import annotations

import itertools
import time

from operando.streamer.service.epics.ioc import SoftIoc

SCAN = """
import sys, time
from bluesky import RunEngine, plan_stubs as bps
from bluesky.suspenders import SuspendBoolHigh
from ophyd import EpicsSignal

hold = EpicsSignal(sys.argv[1], name="hold")
hold.wait_for_connection(timeout=10)
RE = RunEngine()
RE.install_suspender(SuspendBoolHigh(hold, sleep=0))

def points():
    for _ in range(60):  # 6 s: longer than the other client takes to start
        yield from bps.checkpoint()
        print(time.time())
        yield from bps.sleep(0.1)

RE(points())
"""
HOLD = """
import sys, time, epics
pv = epics.PV(sys.argv[1])
assert pv.wait_for_connection(10)
for value in ("hold", "go"):
    assert pv.put(value, wait=True, timeout=10) == 1
    time.sleep(1.5)
"""


def test_a_scan_waits_while_it_is_held(client):
    with SoftIoc("S:") as ioc, client.start(SCAN, "S:HOLD") as scan:
        first = float(scan.stdout.readline())
        client.run(HOLD, "S:HOLD")
        rest, errors = scan.communicate(timeout=60)
        assert not ioc.held
    assert scan.returncode == 0, errors
    times = [first, *(float(line) for line in rest.splitlines() if line[:1].isdigit())]
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert len(times) >= 60  # the point at which it was held may be taken again
    assert max(gaps) > 1.2
    assert sorted(gaps)[-2] < 1.0
    assert times[-1] < time.time()
