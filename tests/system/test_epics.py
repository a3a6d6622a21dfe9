"""Process variables of real processes, read with the client library of EPICS."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from operando.callbacks.publisher import FramePublisher
from operando.streamer.lab.rig import Child, start_proxy
from operando.streamer.lab.simulate import SimSettings, simulate_documents
from operando.streamer.service.tiled_server import free_port

pytestmark = pytest.mark.system

SETTINGS = SimSettings(
    shape=(160, 160),
    n_particles=3,
    radius_px=(12, 16),
    energies=tuple(np.linspace(8345, 8365, 6)),
    chunk=1,
    jitter_px=0.5,
    drift_px=3.0,
    wander_px=0.5,
)
READ = """
import json, sys, epics
names = sys.argv[1:]
pvs = [epics.PV(name) for name in names]
assert all(pv.wait_for_connection(10) for pv in pvs)
print(json.dumps([pv.get(as_string=True) for pv in pvs]))
"""


def at(port):
    return {
        "EPICS_CA_SERVER_PORT": str(port),
        "EPICS_CA_ADDR_LIST": "127.0.0.1",
        "EPICS_CA_AUTO_ADDR_LIST": "NO",
    }


def read(port, *names):
    done = subprocess.run(
        [sys.executable, "-c", READ, *names],
        env={**os.environ, **at(port)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(names, json.loads(done.stdout), strict=True))


def test_both_ways_to_serve_them(rig, tmp_path, wait_until):
    inside, outside, inner, outer = (free_port() for _ in range(4))
    folder = tmp_path / "results"
    folder.mkdir()
    rig.start(start_proxy(folder, inside, outside))
    arguments = ["ioc", "--zmq", f"127.0.0.1:{outside}", "--prefix", "OUT:"]
    ioc = rig.start(
        Child(["-m", "operando.streamer.cli", *arguments], tmp_path / "ioc.log", at(outer))
    )
    service = rig.start(
        Child(
            ["-m", "operando.streamer.cli", "process", "--zmq", f"127.0.0.1:{rig.port_out}",
             "--profile", "sim_txm", "--epics", "IN:", "--publish", f"127.0.0.1:{inside}"],
            tmp_path / "service.log",
            at(inner),
        )
    )  # fmt: skip
    ioc.wait_for("ready: subscribed, waiting for results")
    service.wait_for("ready: subscribed")
    assert read(inner, "IN:PHASE", "IN:HEARTBEAT")["IN:PHASE"] == "idle"
    publisher = FramePublisher(f"127.0.0.1:{rig.port_in}")
    for name, doc in simulate_documents(SETTINGS):
        publisher(name, doc)
    assert publisher.close(20)
    service.wait_for("balanced", 60)

    names = ("PHASE", "FRAME", "STATUS", "DRIFT:Y", "PARTICLES:TRACKED", "LEDGER:ALIGNED", "RUN")
    wait_until(lambda: read(outer, "OUT:PHASE")["OUT:PHASE"] == "ended")
    inner_values = read(inner, *("IN:" + name for name in names))
    outer_values = read(outer, *("OUT:" + name for name in names))
    assert list(inner_values.values()) == list(outer_values.values())
    assert inner_values["IN:FRAME"] == "5"
    assert inner_values["IN:STATUS"] == "aligned"
    assert inner_values["IN:LEDGER:ALIGNED"] == "6"
    assert abs(float(inner_values["IN:DRIFT:Y"])) > 0
    assert float(read(inner, "IN:RATE")["IN:RATE"]) > 0
    beats = int(read(outer, "OUT:HEARTBEAT")["OUT:HEARTBEAT"])
    wait_until(lambda: int(read(outer, "OUT:HEARTBEAT")["OUT:HEARTBEAT"]) > beats)

    assert service.end() == 0, service.log.read_text()
    assert ioc.end() == 0, ioc.log.read_text()
    for child in (service, ioc):
        log = child.log.read_text()
        assert "Traceback" not in log, log
        assert "served at 127.0.0.1 port" in log
