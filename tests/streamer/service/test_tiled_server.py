"""The embedded Tiled server is a process that ends with us."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from operando.streamer.service.tiled_server import EmbeddedTiled, TiledServerError, answers

pytestmark = pytest.mark.system

ORPHAN = """
import sys, time
from operando.streamer.service.tiled_server import EmbeddedTiled
server = EmbeddedTiled(sys.argv[1])
server.start()
print(server.base_uri, flush=True)
time.sleep(60)
"""


def test_it_answers_with_its_key_only_and_hides_the_key(tiled_server: EmbeddedTiled) -> None:
    def status(key: str) -> int:
        headers = {"Authorization": f"Apikey {key}"}
        return httpx.get(f"{tiled_server.base_uri}/api/v1/metadata/", headers=headers).status_code

    assert status(tiled_server.api_key) == 200
    assert status("wrong") == 401
    assert tiled_server.pid is not None
    arguments = Path(f"/proc/{tiled_server.pid}/cmdline").read_bytes()
    assert tiled_server.api_key.encode() not in arguments
    assert tiled_server.log.stat().st_size > 0


@pytest.mark.slow
def test_it_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", ORPHAN, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        uri = parent.stdout.readline().strip()
        assert answers(uri)
        os.kill(parent.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while answers(uri) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not answers(uri)


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = EmbeddedTiled(tmp_path, port=taken.getsockname()[1])
        with pytest.raises(TiledServerError, match=r"(?s)ended while starting.*in use"):
            server.start()
    assert server.pid is None
