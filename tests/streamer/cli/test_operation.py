"""``operando process`` as a supervisor sees it: a real process, its log, its health, its end."""

from __future__ import annotations

import json
import os
import signal
import socket
import time

import httpx
import pytest
from tiled.client import from_uri

from operando.callbacks.publisher import FramePublisher
from operando.streamer.cli.options import MEANING, Exit
from operando.streamer.lab.bench.load import Recycled, scrape
from operando.streamer.lab.rig import Child, start_proxy
from operando.streamer.service.tiled_server import free_port

pytestmark = pytest.mark.system


@pytest.fixture
def ports():
    return {name: free_port() for name in ("in", "out", "http")}


def until(ask, timeout=60.0):
    deadline = time.monotonic() + timeout
    while not (answer := ask()):
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.1)
    return answer


def process(folder, ports, *options, **environment):
    address = f"127.0.0.1:{ports['http']}"
    given = ["process", "--zmq", f"127.0.0.1:{ports['out']}", "--http", address, *options]
    return Child(["-m", "operando.streamer.cli", *given], folder / "process.log", environment)


def health(ports, path="healthz"):
    try:
        answer = httpx.get(f"http://127.0.0.1:{ports['http']}/{path}", timeout=5)
    except httpx.TransportError:
        return None
    return answer.status_code, answer.json()


def json_lines(child):
    return [json.loads(line) for line in child.log.read_text().splitlines()]


def test_sigterm_in_a_run_delivers_everything_and_ends_with_0(
    tmp_path, ports, small_run, tiled_server
):
    tiled, secret = tiled_server, tiled_server.api_key
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd,
        start_proxy(tmp_path, ports["in"], ports["out"]),
    ):
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(60)
        options = ["--tiled", tiled.base_uri, "--profile", "sim_txm", "--log-format", "json"]
        variables = {
            "TILED_API_KEY": secret,
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "WATCHDOG_USEC": "20000000",
        }
        unfinished = [(n, d) for (n, d), _ in Recycled(small_run, 5).run("mine") if n != "stop"]
        raw = unfinished[0][1]["uid"]
        with process(tmp_path, ports, *options, **variables) as service:
            assert {systemd.recv(100) for _ in range(2)} == {b"READY=1", b"WATCHDOG=1"}
            until(lambda: (health(ports) or (0,))[0] == 200)
            publisher = FramePublisher(f"127.0.0.1:{ports['in']}")
            assert publisher.wait_connected(10)
            for name, doc in unfinished:
                publisher(name, doc)
            address = f"127.0.0.1:{ports['http']}"
            until(lambda: scrape(address).sum("operando_source_decoded_total") == len(unfinished))
            service.process.send_signal(signal.SIGTERM)
            status, report = service.wait(120), service.log.read_text()
            assert status == Exit.OK, report
            publisher.close()
        until(lambda: systemd.recv(100) == b"STOPPING=1")
        client = from_uri(tiled.uri)
        (run,) = [
            r for r in client.values() if r.metadata.get("start", {}).get("original_run_uid") == raw
        ]
        stop = run.metadata["stop"]
        assert stop["ledger"]["received"] == 5
        assert stop["ledger"]["balanced"]
        assert len(run["frames"].read()) == 10
        client.context.close()
    lines = json_lines(service)
    assert any(line.get("run") == raw and "ledger" in line["message"] for line in lines)
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    assert secret not in service.log.read_text()


def test_what_is_away_is_named_and_no_reason_for_a_restart(tmp_path, ports):
    away = f"http://127.0.0.1:{free_port()}"
    options = ["--tiled", away, "--log-format", "json"]
    with process(tmp_path, ports, *options, TILED_API_KEY="0123456789") as service:
        status, report = until(lambda: health(ports))
        assert status == 503
        status, report = until(lambda: "tiled" in (got := health(ports))[1] and got)
        assert report["failing"] == ["source", "tiled"]
        assert report["tiled"]["reachable"] is False
        assert health(ports, "livez")[0] == 200
        assert service.end() == Exit.OK
    assert "0123456789" not in service.log.read_text()


def test_dropped_documents_end_it_with_3_and_stand_in_the_ledger(tmp_path, ports, small_run):
    images = [d for n, d in small_run if n == "event"]
    size = next(v.nbytes for v in images[0]["data"].values() if hasattr(v, "nbytes"))
    many = 2_000_000 // size
    with (
        start_proxy(tmp_path, ports["in"], ports["out"]),
        process(tmp_path, ports, "--profile", "sim_txm", "--queue-mb", "1") as service,
    ):
        service.wait_for("ready: subscribed", 120)
        publisher = FramePublisher(f"127.0.0.1:{ports['in']}")
        assert publisher.wait_connected(10)
        primary = next(
            d["uid"] for n, d in small_run if n == "descriptor" and d["name"] == "primary"
        )
        sample = [d for d in images if d["descriptor"] == primary]
        for name, doc in small_run:
            if name == "stop":
                continue
            publisher(name, doc)
        for number in range(len(sample) + 1, many + 1):
            event = {**sample[number % len(sample)], "seq_num": number, "uid": f"e{number}"}
            publisher("event", event)
        stop = small_run[-1][1]
        publisher("stop", {**stop, "num_events": {**stop["num_events"], "primary": many}})
        address = f"127.0.0.1:{ports['http']}"
        until(lambda: scrape(address).sum("operando_runs_total") == 1, 180)
        told = scrape(address)
        dropped = told.sum("operando_ledger_frames_total", book="dropped", reason="overload")
        assert dropped > 0
        assert dropped == told.sum("operando_frames_total", status="dropped", reason="overload")
        assert told.sum("operando_ledger_frames_total", book="received") == many
        assert told.sum("operando_runs_total", balanced="true") == 1
        publisher.close()
        service.process.send_signal(signal.SIGTERM)
        assert service.wait(60) == Exit.LOST
    assert "documents were dropped" in service.log.read_text()


def test_results_that_never_arrive_end_it_with_3(run_cli, monkeypatch):
    from operando.streamer.cli import live_service
    from operando.streamer.errors import SinkError

    def lost(*_, **__):
        raise SinkError("5 results never reached Tiled")

    monkeypatch.setattr(live_service, "Service", lost)
    ended = run_cli("process", "--zmq", f"127.0.0.1:{free_port()}")
    assert ended.status == Exit.LOST
    assert "5 results never reached Tiled" in ended.err


def test_an_address_for_all_is_refused(run_cli):
    ended = run_cli("process", "--http", "0.0.0.0:9108")
    assert ended.status == Exit.ERROR
    assert "--http-public" in ended.err


def test_wrong_options_end_it_with_2(run_cli):
    assert run_cli("process", "--no-such-option").status == Exit.USAGE
    assert run_cli("process", "--log-format", "xml").status == Exit.USAGE


def test_a_second_signal_ends_it_with_130(tmp_path, ports):
    away = f"http://127.0.0.1:{free_port()}"
    with process(tmp_path, ports, "--tiled", away) as service:
        until(lambda: health(ports))
        os.kill(service.process.pid, signal.SIGSTOP)
        os.kill(service.process.pid, signal.SIGTERM)
        os.kill(service.process.pid, signal.SIGINT)
        os.kill(service.process.pid, signal.SIGCONT)
        assert service.wait(60) == Exit.INTERRUPTED


def test_the_statuses_are_told_in_the_help_and_beside_the_unit(run_cli, repo_root):
    shown = " ".join(run_cli("process", "--help").out.split())
    table = (repo_root / "profiles" / "systemd" / "README.md").read_text()
    for status in Exit:
        assert f"{int(status)}: {MEANING[status]}" in shown
        assert f"| {int(status)} |" in table
