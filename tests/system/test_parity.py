"""Live, replayed and in-process: the same documents give the same results, bit for bit."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from operando.callbacks import StreamProcessor
from operando.streamer.io.recording.reader import read_documents
from operando.streamer.lab.rig import start_beamline

pytestmark = pytest.mark.system


def test_live_equals_replay_equals_in_process(rig, results, tiled_server, connect, tmp_path):
    client = connect(tiled_server)
    before = set(client)
    recordings = tmp_path / "raw"
    service = rig.service(
        *("--profile", "sim_txm", "--record", str(recordings), "--runs", "1"), tiled=tiled_server
    )
    beamline = rig.start(
        start_beamline(
            tmp_path,
            ["--proxy", f"127.0.0.1:{rig.port_in}", "--preset", "calm", "--energies", "8"],
        )
    )
    assert beamline.wait(60) == 0, beamline.log.read_text()
    assert service.wait(60) == 0, service.log.read_text()
    (uid,) = set(client) - before
    live = results.of_tiled(client[uid])
    assert live.frames["frame"].nunique() == 8
    assert live.particles["particle"].nunique() >= 6
    assert live.stop["ledger"]["balanced"]

    (recording,) = recordings.glob("*.msgpack")
    output = tmp_path / "replayed.msgpack"
    arguments = [str(recording), "--speed", "max", "--profile", "sim_txm", "-o", str(output)]
    arguments += ["--tiled", tiled_server.base_uri, "--frames-dir", str(tiled_server.frames_dir)]
    ended = subprocess.run(
        [sys.executable, "-m", "operando.streamer.cli", "replay", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "TILED_API_KEY": tiled_server.api_key},
    )
    assert ended.returncode == 0, ended.stderr
    replayed = results.of_recording(output)
    replayed.assert_equal(live)
    assert replayed.stop["ledger"] == live.stop["ledger"]

    # into the same server: the same run, not another one
    assert set(client) - before == {uid}
    results.of_tiled(client[uid]).assert_equal(live)

    documents = []
    processor = StreamProcessor("sim_txm")
    processor.subscribe(lambda name, doc: documents.append((name, doc)))
    for item in read_documents(recording):  # one at a time, where the service takes batches
        processor(item.name, item.doc)
    processor.close()
    assert documents[0][1]["uid"] == uid
    in_process = results.of_documents(documents)
    in_process.assert_equal(live)
    assert in_process.stop["ledger"] == live.stop["ledger"]
