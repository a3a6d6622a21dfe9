"""`operando watch` on a real terminal, beside a real service."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
import time

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


class Terminal:
    """A command on a terminal of its own; `text` is all that it has shown."""

    def __init__(self, arguments, environment):
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "operando.streamer.cli", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
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

    def wait_for(self, text, timeout=120):
        deadline = time.monotonic() + timeout
        while text not in self.text:
            story = f"no {text!r}; status {self.process.poll()}; it shows\n{self.text[-3000:]}"
            assert self.process.poll() is None, story
            assert time.monotonic() < deadline, story
            time.sleep(0.1)

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


def test_a_scan_is_watched_over_0mq_and_from_tiled(rig, tmp_path, tiled_server, watching):
    inside, outside = free_port(), free_port()
    folder = tmp_path / "results"
    folder.mkdir()
    rig.start(start_proxy(folder, inside, outside))
    key = {"TILED_API_KEY": tiled_server.api_key}
    over_zmq = watching("--zmq", f"127.0.0.1:{outside}")
    from_tiled = watching("--tiled", tiled_server.base_uri, "--every", "0.5", **key)
    over_zmq.wait_for("waiting for a run")
    from_tiled.wait_for("operando")
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
            terminal.wait_for(text)
        assert terminal.end() == 0
    assert service.wait(60) == 0, service.log.read_text()

    arguments = ["watch", "--tiled", tiled_server.base_uri, "--once"]
    once = rig.start(Child(["-m", "operando.streamer.cli", *arguments], tmp_path / "once.log", key))
    assert once.wait(60) == 0
    shown = once.log.read_text()
    assert raw[:8] in shown
    assert "\x1b" not in shown  # no terminal, no colours
