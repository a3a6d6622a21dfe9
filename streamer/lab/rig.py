"""Start the parts of a live set-up as child processes: proxy, service, simulated beamline.

Used by the demo, the stream benchmark and the system tests. Every child ends with its context.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from ..errors import OperandoError


class RigError(OperandoError):
    """A part of the set-up does not start, or ended too early."""

    reason = "rig"


class Child:
    """A child process whose output goes to a file.

    Parameters
    ----------
    arguments : of the Python interpreter.
    log : file for standard output and error.
    environment : variables set beside our own.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = log.stem
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and modules
                [sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "COLUMNS": "120", **(environment or {})},
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.end()

    @property
    def running(self) -> bool:
        """Return True while the process has not ended."""
        return self.process.poll() is None

    def wait_for(self, text: str, timeout: float = 60.0) -> None:
        """Wait until the output holds a text.

        Raises
        ------
        RigError
            If the process ends before, or after `timeout` s.
        """
        deadline = time.monotonic() + timeout
        while text not in self.log.read_text(errors="replace"):
            if not self.running:
                raise RigError(self.story(f"ended with status {self.process.returncode}"))
            if time.monotonic() > deadline:
                raise RigError(self.story(f"did not say {text!r} within {timeout:.0f} s"))
            time.sleep(0.05)

    def wait(self, timeout: float) -> int:
        """Wait for the end; return the exit status.

        Raises
        ------
        RigError
            If it goes on for longer than `timeout` s.
        """
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise RigError(self.story(f"did not end within {timeout:.0f} s")) from None

    def end(self, timeout: float = 20.0) -> int:
        """Ask the process to end (SIGTERM), kill it if it does not; return the exit status."""
        if self.running:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait()

    def story(self, what: str) -> str:
        """Say what happened, with the last lines of the output."""
        tail = self.log.read_text(errors="replace").splitlines()[-15:]
        return "\n".join([f"{self.name} {what}; its last output:", *("  " + t for t in tail)])


def start_proxy(folder: Path, port_in: int, port_out: int) -> Child:
    """Start the stock ``bluesky-0MQ-proxy`` on loopback."""
    arguments = ["-m", "bluesky.commandline.zmq_proxy"]
    arguments += ["--in-address", f"127.0.0.1:{port_in}", "--out-address", f"127.0.0.1:{port_out}"]
    child = Child(arguments, folder / "proxy.log", {"PYTHONUNBUFFERED": "1"})
    child.wait_for("Use Ctrl+C", timeout=30)
    return child


def start_service(
    folder: Path,
    arguments: Sequence[str],
    tiled_key: str = "",
    environment: Mapping[str, str] | None = None,
) -> Child:
    """Start ``operando process`` and wait until it listens."""
    variables = {"TILED_API_KEY": tiled_key} if tiled_key else {}
    child = Child(
        ["-m", "operando.streamer.cli", "process", *arguments],
        folder / "service.log",
        {**variables, **(environment or {})},
    )
    child.wait_for("ready: subscribed", timeout=120)
    return child


def start_dashboard(folder: Path, tiled: str, tiled_key: str = "") -> tuple[Child, str]:
    """Start ``operando dashboard`` on a free port of loopback; return it and its address."""
    child = Child(
        ["-m", "operando.streamer.cli", "dashboard", "--tiled", tiled, "--port", "0"],
        folder / "dashboard.log",
        {"TILED_API_KEY": tiled_key} if tiled_key else {},
    )
    child.wait_for("(Ctrl-C ends it)", timeout=60)
    announced = child.log.read_text(errors="replace").split("(Ctrl-C ends it)")[0]
    return child, announced.split()[-1]


def start_beamline(folder: Path, arguments: Sequence[str]) -> Child:
    """Start the simulated beamline: a RunEngine that scans and publishes."""
    return Child(
        ["-m", "operando.streamer.lab.simulate.process", *arguments], folder / "beamline.log"
    )
