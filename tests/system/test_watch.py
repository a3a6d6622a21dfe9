"""`operando watch` on a real terminal, beside a real service."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from operando.callbacks.publisher import FramePublisher
from operando.streamer.rig import Child, start_proxy
from operando.streamer.simulate import SimSettings, simulate_documents
from operando.streamer.tiled_server import free_port

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


class Terminal:
    """A command on a terminal of its own; `text` is all that it has shown."""

    def __init__(self, arguments, environment):
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "operando.streamer.cli", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100", **environment},
        )
        os.close(slave)
        self.text = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # how a terminal says that the other side is gone
                return
            self.text += data.decode(errors="replace")

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def close(self):
        self.process.kill()
        self.process.wait()
        self._reader.join(10)
        os.close(self._master)


@pytest.fixture
def watching():
    """Start `operando watch` on a terminal."""
    started = []

    def start(*arguments, **environment):
        started.append(Terminal(["watch", *arguments], environment))
        return started[-1]

    yield start
    for terminal in started:
        terminal.close()


def test_a_scan_is_watched_over_0mq_and_from_tiled(
    rig, tmp_path, tiled_server, wait_until, watching
):
    inside, outside = free_port(), free_port()
    folder = tmp_path / "results"
    folder.mkdir()
    rig.start(start_proxy(folder, inside, outside))
    key = {"TILED_API_KEY": tiled_server.api_key}
    over_zmq = watching("--zmq", f"127.0.0.1:{outside}")
    from_tiled = watching("--tiled", tiled_server.base_uri, "--every", "0.5", **key)
    wait_until(lambda: "waiting for a run" in over_zmq.text, 120)
    wait_until(lambda: "operando" in from_tiled.text, 120)
    service = rig.service(
        *("--profile", "sim_txm", "--publish", f"127.0.0.1:{inside}", "--runs", "1"),
        tiled=tiled_server,
    )
    documents = list(simulate_documents(SETTINGS))
    raw = documents[0][1]["uid"]
    publisher = FramePublisher(f"127.0.0.1:{rig.port_in}")
    for name, doc in documents:
        publisher(name, doc)
    assert publisher.close(20)
    wanted = (raw[:8], "ended success", "particles: 3 tracked", "6 received = 6 aligned + 0 degr")
    for terminal in (over_zmq, from_tiled):
        for text in wanted:
            wait_until(lambda shown=terminal, text=text: text in shown.text, 120)
        assert terminal.end() == 0
    assert service.wait(60) == 0, service.log.read_text()

    arguments = ["watch", "--tiled", tiled_server.base_uri, "--once"]
    once = rig.start(Child(["-m", "operando.streamer.cli", *arguments], tmp_path / "once.log", key))
    assert once.wait(60) == 0
    shown = once.log.read_text()
    assert raw[:8] in shown
    assert "\x1b" not in shown  # no terminal, no colours
