"""Notifications of systemd, received at a real socket."""

from __future__ import annotations

import contextlib
import os
import socket
import threading

import pytest

from operando.streamer.service.operation.systemd import Watchdog, notify, watchdog_period


@pytest.fixture
def listener(tmp_path, monkeypatch):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(path)
        sock.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        yield sock


def test_systemd_is_told(listener):
    assert notify("READY=1")
    assert listener.recv(100) == b"READY=1"


def test_an_abstract_socket_is_told_too(monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        name = f"operando-test-{os.getpid()}"
        sock.bind("\0" + name)
        sock.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
        assert notify("STOPPING=1")
        assert sock.recv(100) == b"STOPPING=1"


def test_without_systemd_nothing_happens(monkeypatch, tmp_path):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    assert not notify("READY=1")


@pytest.mark.parametrize(
    ("told", "pid", "period"),
    [("60000000", None, 60.0), ("", None, None), ("x", None, None), ("60000000", "1", None)],
)
def test_the_period_of_the_watchdog(monkeypatch, told, pid, period):
    monkeypatch.setenv("WATCHDOG_USEC", told)
    if pid is None:
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
    else:
        monkeypatch.setenv("WATCHDOG_PID", pid)
    assert watchdog_period() == period


def test_the_watchdog_is_fed_while_there_is_life_and_not_after(listener, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "150000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    alive = threading.Event()
    alive.set()
    with Watchdog(alive.is_set):
        for _ in range(3):
            assert listener.recv(100) == b"WATCHDOG=1"
        alive.clear()
        listener.settimeout(0.4)
        told = []
        with contextlib.suppress(TimeoutError):
            while len(told) < 5:
                told.append(listener.recv(100))
        assert len(told) <= 1, "one may have been under way"
