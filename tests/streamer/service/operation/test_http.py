"""The status server: what it answers, where it may listen, and that it holds nothing up."""

from __future__ import annotations

import socket
import threading
from http import HTTPStatus

import httpx
import pytest

from operando.streamer.errors import ConfigError
from operando.streamer.service.operation.http import StatusServer, as_json, parse_address


def broken():
    raise RuntimeError("no")


ROUTES = {
    "/ok": lambda: as_json({"a": 1}),
    "/sick": lambda: as_json({}, HTTPStatus.SERVICE_UNAVAILABLE),
    "/broken": broken,
}


@pytest.fixture
def server():
    with StatusServer(("127.0.0.1", 0), ROUTES) as started:
        yield started


def test_paths_and_their_statuses(server, caplog):
    with httpx.Client(base_url=f"http://{server.host_and_port}") as client:
        assert client.get("/ok?x=1").json() == {"a": 1}
        assert client.get("/sick").status_code == 503
        assert client.get("/broken").status_code == 500
        assert client.get("/nothing").status_code == 404
        assert client.get("/ok/../../etc/passwd").status_code == 404
        assert client.post("/ok").status_code == 405
        assert client.get("/ok").status_code == 200
    assert any("cannot answer /broken" in r.message for r in caplog.records)


def test_visitors_who_say_nothing_do_not_keep_others_from_being_answered(server):
    idle = [socket.create_connection(server.address) for _ in range(5)]
    try:
        answer = httpx.get(f"http://{server.host_and_port}/ok", timeout=3)
        assert answer.status_code == 200
    finally:
        for sock in idle:
            sock.close()


def test_there_are_only_so_many_threads(server):
    before = threading.active_count()
    idle = [socket.create_connection(server.address) for _ in range(60)]
    try:
        threading.Event().wait(0.5)
        assert threading.active_count() - before <= 16
    finally:
        for sock in idle:
            sock.close()


def test_an_address_in_use_is_told(server):
    with pytest.raises(ConfigError, match="cannot listen"):
        StatusServer(server.address, ROUTES).__enter__()


@pytest.mark.parametrize("text", ["127.0.0.1:0", "localhost:9108", "[::1]:9108", "127.3.2.1:80"])
def test_loopback_is_let(text):
    host, port = parse_address(text, public=False)
    assert port == int(text.rpartition(":")[2])
    assert "[" not in host


@pytest.mark.parametrize("text", ["0.0.0.0:9108", "[::]:9108", "beamline.example:80", "10.0.0.1:1"])
def test_other_machines_only_if_that_is_wanted(text):
    with pytest.raises(ConfigError, match="--http-public"):
        parse_address(text, public=False)
    assert parse_address(text, public=True)


@pytest.mark.parametrize("text", ["", "9108", ":9108", "localhost", "localhost:http", "h:70000"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ConfigError, match="HOST:PORT"):
        parse_address(text, public=True)
