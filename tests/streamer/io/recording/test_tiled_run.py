"""A run that lies in a real Tiled server can be played back."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from operando.streamer.errors import RecordingError
from operando.streamer.io.recording.reader import read_documents
from operando.streamer.service.backfill import Backfill, make_provider

pytestmark = [pytest.mark.system, pytest.mark.slow]

EXPORTER = "bluesky_tiled_plugins.exporters:json_seq_exporter"
CONFIG = """
authentication: {{single_user_api_key: secret}}
catalog:
  uri: "sqlite:///{folder}/catalog.db"
  writable_storage: ["file://localhost{folder}/data", "sqlite:///{folder}/tables.db"]
  init_if_not_exists: true
uvicorn: {{host: 127.0.0.1, port: {port}, access_log: false}}
{extra}
"""


@contextmanager
def tiled_server(folder: Path, extra: str) -> Iterator[str]:
    """Run a server on a catalog in `folder`; yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = folder / "tiled.yml"
    config.write_text(CONFIG.format(folder=folder, port=port, extra=extra))
    command = [sys.executable, "-m", "tiled", "serve", "config", str(config)]
    with (
        (folder / "log").open("ab") as log,
        subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, "PYTHONWARNINGS": "ignore"}
        ) as process,
    ):
        try:
            _wait_healthy(f"http://127.0.0.1:{port}/healthz", process)
            yield f"http://127.0.0.1:{port}/api/v1"
        finally:
            process.kill()


def _wait_healthy(url: str, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError("the server did not start")


WRITE = """
import sys
from bluesky import RunEngine, plans as bp
from bluesky_tiled_plugins import TiledWriter
from ophyd.sim import SynSignal
from tiled.client import from_uri
engine = RunEngine({}, call_returns_result=False)
engine.subscribe(TiledWriter(from_uri(sys.argv[1], api_key="secret"), batch_size=1))
x = SynSignal(name="x", func=iter(range(-1, 100)).__next__)
print(*engine(bp.count([x], num=4)) or (), flush=True)
"""


END_EARLY = """
seen = []
def end(name, doc):
    seen.append((name, doc))
    if len(seen) == 6:  # start, descriptor, four events
        for name, doc in seen:
            print(json.dumps([name, doc]), flush=True)
        os._exit(0)
engine.subscribe(end)
"""


def _check_that_a_late_joiner_is_served(folder, uri):
    """Backfill takes start, descriptor and first events of a run that goes on out of Tiled."""
    script = "import json, os" + WRITE.replace("print(*engine", END_EARLY + "print(*engine")
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, uri],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=folder,
    )
    documents = [tuple(json.loads(line)) for line in ended.stdout.splitlines()]
    backfill = Backfill([make_provider(f"{uri}?api_key=secret")])
    filled = backfill.fill(documents[-1:])
    assert [name for name, _ in filled] == ["start", "descriptor", *["event"] * 4]
    for (_, mine), (name, its) in zip(filled, documents, strict=True):
        assert mine["uid"] == its["uid"] or name == "event"  # which Tiled keeps by number
        assert mine.get("seq_num") == its.get("seq_num")
        assert mine.get("data") == its.get("data")
    assert backfill.filled == 5


def test_a_run_in_tiled_is_read_as_documents(tmp_path):
    exporter = f"media_types: {{BlueskyRun: {{application/json-seq: '{EXPORTER}'}}}}"
    with tiled_server(tmp_path, exporter) as uri:
        command = [sys.executable, "-W", "ignore", "-c", WRITE, uri]
        out = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
        uid = out.stdout.split()[0]
        items = list(read_documents(f"{uri}/metadata/{uid}?api_key=secret"))
        _check_that_a_late_joiner_is_served(tmp_path, uri)
        with pytest.raises(RecordingError, match="is no BlueskyRun"):
            list(read_documents(f"{uri}/metadata/?api_key=secret"))
        with pytest.raises(RecordingError, match="cannot open") as caught:
            list(read_documents(f"{uri}/metadata/{uid}?api_key=wrong"))
        assert "wrong" not in str(caught.value)
    names = [item.name for item in items]
    assert (names[0], names[1], names[-1]) == ("start", "descriptor", "stop")
    assert items[0].doc["uid"] == uid
    events = [item.doc for item in items if item.name == "event"]
    assert [event["data"]["x"] for event in events] == [0, 1, 2, 3]
    plain = tiled_server(tmp_path, "")
    with plain as uri, pytest.raises(RecordingError, match="json_seq_exporter"):
        list(read_documents(f"{uri}/metadata/{uid}?api_key=secret"))
