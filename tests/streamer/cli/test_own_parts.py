"""Sinks and importers of one's own, by dotted path: what the README promises."""

from __future__ import annotations

import os

import pytest

from operando.callbacks.publisher import FramePublisher
from operando.streamer.io.recording.reader import read_documents
from operando.streamer.io.recording.writer import RecordingWriter
from operando.streamer.lab.rig import Child, start_proxy
from operando.streamer.service.tiled_server import free_port

SINKS = """
import os
import numpy as np
from operando.streamer.core.frames import Role
from operando.streamer.io.importers import Exposure, ImportPlan

taken, closed = [], []

class Keeper:
    def __call__(self, name, doc):
        taken.append((name, doc))

    def close(self):
        closed.append(len(taken))

def count(name, doc):
    taken.append(name)

class File:
    def __init__(self):
        self.file = open(os.environ["SINK_FILE"], "w")

    def __call__(self, name, doc):
        print(name, file=self.file)

    def close(self):
        print("closed", file=self.file)
        self.file.close()

def broken(name, doc):
    raise OSError("no")

class Unmakeable:
    def __init__(self):
        raise OSError("no server")

nothing = 3

class Importer:
    def claims(self, path):
        return True

    def scan(self, path):
        shot = Exposure(role=Role.SAMPLE, energy=8350.0, exposure=1.0, time=0.0, source=path,
                        read=lambda: np.ones((4, 5), np.float32))
        return ImportPlan(importer="mine", identity="one", sample="a", shots=(shot,))
"""


@pytest.fixture
def sinks(tmp_path, monkeypatch):
    """A module with sinks, as a beamline would have it."""
    import importlib
    import sys

    (tmp_path / "my_beamline_sinks.py").write_text(SINKS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_beamline_sinks", raising=False)
    return importlib.import_module("my_beamline_sinks")


@pytest.fixture
def recording(small_run, tmp_path):
    path = tmp_path / "run.msgpack"
    with RecordingWriter(path) as writer:
        for name, doc in small_run:
            writer(name, doc)
    return str(path)


def test_replay_gives_results_to_sinks_by_dotted_path(run_cli, sinks, recording):
    own = ("--sink", "my_beamline_sinks:Keeper", "--sink", "my_beamline_sinks:count")
    ended = run_cli("replay", recording, "--speed", "max", *own)
    assert ended.status == 0, ended.err
    documents = [item for item in sinks.taken if isinstance(item, tuple)]
    names = [item for item in sinks.taken if isinstance(item, str)]
    assert [name for name, _ in documents] == names
    assert (names[0], names[-1]) == ("start", "stop")
    assert documents[0][1]["purpose"] == "processed"
    assert any(d["data"].get("aligned") is not None for n, d in documents if n == "event")
    assert len(sinks.closed) == 1  # made by operando, closed by it, with everything delivered
    assert documents[-1][1]["ledger"]["balanced"]


@pytest.mark.system
def test_process_gives_results_to_a_sink_by_dotted_path(sinks, small_run, tmp_path):
    port_in, port_out = free_port(), free_port()
    options = ["--zmq", f"127.0.0.1:{port_out}", "--runs", "1", "--sink", "my_beamline_sinks:File"]
    command = ["-m", "operando.streamer.cli", "process", *options]
    paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {"PYTHONPATH": os.pathsep.join(paths), "SINK_FILE": str(tmp_path / "taken")}
    with (
        start_proxy(tmp_path, port_in, port_out),
        Child(command, tmp_path / "process.log", environment) as service,
    ):
        service.wait_for("ready:", timeout=120)
        publisher = FramePublisher(f"127.0.0.1:{port_in}")
        assert publisher.wait_connected(20)
        for name, doc in small_run:
            publisher(name, doc)
        assert service.wait(120) == 0, service.log.read_text()
        publisher.close()
    names = (tmp_path / "taken").read_text().split()
    assert (names[0], names.count("stop"), names[-1]) == ("start", 1, "closed")


def test_a_sink_that_fails_costs_the_others_nothing_and_is_told(run_cli, sinks, recording):
    own = ("--sink", "my_beamline_sinks:broken", "--sink", "my_beamline_sinks:count")
    ended = run_cli("replay", recording, "--speed", "max", *own)
    assert ended.status == 3
    assert "results were not taken by the sink my_beamline_sinks:broken" in ended.err
    assert sinks.taken[-1] == "stop"


@pytest.mark.parametrize(
    "path", ["nosuch_module:Sink", "my_beamline_sinks:nosuch", "my_beamline_sinks:Unmakeable",
             "my_beamline_sinks:nothing"]
)  # fmt: skip
def test_a_sink_that_cannot_be_made_is_told_in_one_line(run_cli, sinks, recording, path):
    ended = run_cli("replay", recording, "--sink", path)
    assert ended.status == 1
    assert f"the sink {path!r} cannot be" in ended.err
    assert "Traceback" not in ended.err


def test_sinks_belong_to_the_process_that_computes(run_cli, sinks, recording):
    ended = run_cli("replay", recording, "--zmq", "127.0.0.1:1", "--sink", "a:B")
    assert ended.status == 1
    assert "--sink" in ended.err


def test_import_takes_an_importer_by_dotted_path(run_cli, sinks, tmp_path):
    made = tmp_path / "made.msgpack"
    ended = run_cli("import", tmp_path, "-o", made, "--kind", "my_beamline_sinks:Importer")
    assert ended.status == 0, ended.err
    documents = list(read_documents(made))
    assert [item.name for item in documents] == ["start", "descriptor", "event", "stop"]
    assert documents[2].doc["data"]["energy"] == 8350.0
