"""The IOC, read by the client library of EPICS itself."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time

import pytest

from operando.streamer.core.view import init, particle_counts, update
from operando.streamer.errors import ConfigError
from operando.streamer.service.epics.ioc import SoftIoc
from operando.streamer.service.epics.records import records

P = "T:OPERANDO:"

PUT = """
import sys, epics
pv = epics.PV(sys.argv[1])
assert pv.wait_for_connection(10)
value = sys.argv[2]
print(pv.put(int(value) if value.isdigit() else value, wait=True, timeout=10))
"""

WATCH = """
import sys, time, epics
pv = epics.PV(sys.argv[1], callback=lambda value, **_: print(int(value)))
assert pv.wait_for_connection(10)
while True:
    time.sleep(1)
"""


@pytest.fixture
def ioc(client):
    with SoftIoc(P, period=0.05) as served:
        yield served


def feed(ioc, documents):
    view = init()
    for name, doc in documents:
        ioc(name, doc)
        view = update(view, name, doc)
    time.sleep(0.5)
    return view


def test_a_client_reads_what_the_processor_found(ioc, client, result_documents):
    view = feed(ioc, result_documents)
    found = client.read(*(P + record.name for record in records()))
    values = {name.removeprefix(P): entry["value"] for name, entry in found.items()}
    assert values["DRIFT:Y"] == view.frame.drift.y
    assert values["DRIFT:X"] == view.frame.drift.x
    assert values["DRIFT:SIGMA"] == view.frame.drift.sigma
    assert values["ENERGY"] == 8366.0
    assert values["STATUS"] == "aligned"
    assert values["PHASE"] == "ended"
    assert values["FRAME"] == 7
    assert values["RUN"] == view.raw
    assert values["LEDGER:RECEIVED"] == values["LEDGER:ALIGNED"] == 8
    counts = particle_counts(view)
    assert {s: values[f"PARTICLES:{s.upper()}"] for s in counts} == counts
    assert values["VELOCITY:Y"] == pytest.approx(
        sorted(p.velocity[0] for p in view.particles.values())[1]
    )
    assert values["HEARTBEAT"] >= 1
    assert not any(entry["writeable"] for entry in found.values())
    drift = found[P + "DRIFT:Y"]
    assert (drift["units"], drift["precision"], drift["severity"]) == ("px", 3, 0)
    latency = found[P + "LATENCY"]
    assert (latency["units"], latency["high"], latency["hihi"]) == ("s", 5, 30)
    assert latency["severity"] == 2  # these documents are old
    assert ioc.failures == 0


def test_advice_with_any_text(ioc, client):
    row = {"kind": "recentre" * 9, "severity": "alarm", "message": "zu weit: 40 µm\n" + "x" * 400,
           "particle": 2, "move_y": 1.5, "move_x": -2.5, "acted": False}  # fmt: skip
    ioc("start", {"uid": "u", "time": 0.0, "sample": "a\x1b[2Jb" + "é" * 60})
    ioc("descriptor", {"uid": "d", "run_start": "u", "name": "advice"})
    ioc("event", {"descriptor": "d", "time": 0.0, "data": row})
    time.sleep(0.5)
    names = ("KIND", "SEVERITY", "MESSAGE", "MOVE:Y", "MOVE:X", "PARTICLE", "ACTED", "COUNT")
    found = client.read(*(f"{P}ADVICE:{name}" for name in names))
    values = {name: found[f"{P}ADVICE:{name}"]["value"] for name in names}
    assert values["KIND"] == ("recentre" * 9)[:39]
    assert values["MESSAGE"].startswith("zu weit: 40 ")
    assert 250 < len(values["MESSAGE"]) < 256
    assert (values["SEVERITY"], values["ACTED"]) == ("alarm", "no")
    assert (values["MOVE:Y"], values["MOVE:X"], values["PARTICLE"]) == (1.5, -2.5, 2)
    assert found[f"{P}ADVICE:MESSAGE"]["severity"] == 2
    assert values["COUNT"] == 1
    assert ioc.failures == 0


def test_operators_hold_and_nothing_else_is_written(ioc, client, caplog):
    assert not ioc.held
    client.run(PUT, P + "HOLD", "1")
    assert ioc.held
    held = client.read(P + "HOLD")[P + "HOLD"]
    assert (held["value"], held["severity"], held["writeable"]) == ("hold", 1, True)
    client.run(PUT, P + "HOLD", "go")
    assert not ioc.held
    assert client.read(P + "HOLD")[P + "HOLD"]["severity"] == 0
    with caplog.at_level(logging.CRITICAL, "caproto"):
        client.run(PUT, P + "HOLD", "7")
    assert not ioc.held
    with pytest.raises(AssertionError, match=r"(?i)write access"):
        client.run(PUT, P + "FRAME", "7")


def test_monitors_are_told_of_changes(ioc, client, result_documents):
    with client.start(WATCH, P + "FRAME") as process:
        assert process.stdout.readline().strip() == "-1"
        for name, doc in result_documents:
            ioc(name, doc)
            if name == "event" and "aligned" in doc["data"]:
                time.sleep(0.1)
        seen = []
        while not seen or seen[-1] != 7:
            seen.append(int(process.stdout.readline()))
        process.kill()
    assert len(seen) >= 4
    assert seen == sorted(seen)


def test_a_client_that_does_not_read_holds_nothing_up(ioc, client, result_documents):
    with client.start(WATCH, P + "FRAME") as process:
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        began = time.perf_counter()
        for _ in range(50):
            for name, doc in result_documents:
                ioc(name, doc)
        took = time.perf_counter() - began
        time.sleep(0.5)
        assert client.read(P + "FRAME")[P + "FRAME"]["value"] == 7
        process.send_signal(signal.SIGCONT)
        process.kill()
    assert took / (50 * len(result_documents)) < 0.01


def test_a_stuck_processing_is_seen(client):
    alive = [True]
    with SoftIoc(P, alive=lambda: alive[0], period=0.05):
        time.sleep(0.2)
        alive[0] = False
        time.sleep(0.2)
        before = client.read(P + "HEARTBEAT")[P + "HEARTBEAT"]
        time.sleep(1.2)
        after = client.read(P + "HEARTBEAT")[P + "HEARTBEAT"]
    assert before["value"] == after["value"] == 1
    assert before["severity"] == 3


def test_documents_that_make_no_sense_cost_nothing(ioc, client, result_documents, caplog):
    for name in ("start", "descriptor", "event", "stop", "nonsense"):
        ioc(name, {"descriptor": "x", "data": {"severity": 1}})
    ioc("event", {})
    assert ioc.failures == 5
    assert len(caplog.records) == 1
    view = feed(ioc, result_documents)
    assert client.read(P + "DRIFT:Y")[P + "DRIFT:Y"]["value"] == view.frame.drift.y


def test_other_computers_are_not_served(ioc, client):
    port = int(os.environ["EPICS_CA_SERVER_PORT"])
    socket.create_connection(("127.0.0.1", port), 5).close()
    with pytest.raises(OSError, match=r"refused|unreachable"):  # all of 127/8 is this computer
        socket.create_connection(("127.0.0.2", port), 5).close()


def test_an_address_that_is_not_ours_is_told(client, monkeypatch):
    monkeypatch.setenv("EPICS_CAS_INTF_ADDR_LIST", "192.0.2.1")
    with (
        pytest.raises(ConfigError, match=r"cannot be served at 192\.0\.2\.1"),
        SoftIoc(P),
    ):
        pass


@pytest.mark.parametrize("prefix", ["", "with space:", "dot.ted:", "quote'"])
def test_prefixes_that_cannot_be_used(prefix):
    with pytest.raises(ConfigError, match="prefix"):
        SoftIoc(prefix)


def test_an_ioc_that_dies_costs_process_variables_alone(client, result_documents, caplog):
    broken = threading.Event()

    def alive():
        if broken.is_set():
            raise RuntimeError("a fault")
        return True

    with SoftIoc(P, alive=alive, period=0.05) as ioc:
        broken.set()
        for _ in range(100):
            if ioc.trouble:
                break
            time.sleep(0.05)
        for name, doc in result_documents:
            ioc(name, doc)
    assert "a fault" in ioc.trouble
    assert ioc.failures == 0
    assert "goes on without it" in caplog.text


def test_without_caproto_it_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "operando.streamer.service.epics.channels", raising=False)
    monkeypatch.setitem(sys.modules, "caproto", None)
    with pytest.raises(ConfigError, match=r"pip install operando\[epics\]"):
        SoftIoc(P)
