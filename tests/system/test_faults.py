"""A rehearsal: a script of faults, over a real proxy, to a service that must go on."""

from __future__ import annotations

import re

import numpy as np
import pytest

from operando.streamer.io.recording.writer import RecordingWriter
from operando.streamer.lab.rig import Child
from operando.streamer.lab.simulate import SimSettings, simulate_documents

pytestmark = pytest.mark.system

SCRIPT = """
seed: 3
faults:
  - {kind: corrupt, seq_num: [2, 2], mode: truncate}
  - {kind: corrupt, seq_num: [3, 3], mode: garbage}
  - {kind: corrupt, stream: null, seq_num: [4, 4], mode: name}
  - {kind: duplicate, seq_num: [5, 5]}
  - {kind: nan, seq_num: [6, 6]}
  - {kind: reorder, seq_num: [7, 7], by: 1}
"""
LEDGER = re.compile(r"ledger: .*")


def recorded(path, seed):
    settings = SimSettings(
        seed=seed,
        shape=(160, 160),
        n_particles=3,
        radius_px=(12, 16),
        energies=tuple(np.linspace(8360, 8390, 8)),
        chunk=1,
        jitter_px=0.5,
        drift_px=1.0,
        wander_px=0.5,
    )
    with RecordingWriter(path) as writer:
        for name, doc in simulate_documents(settings):
            writer.write(name, doc, doc["time"])
    return path


def test_corrupt_messages_cost_their_frames_and_no_others(rig, tmp_path):
    bad, good = (recorded(tmp_path / f"scan{seed}.msgpack", seed) for seed in (1, 2))
    script = tmp_path / "faults.yml"
    script.write_text(SCRIPT)

    def replay(recording, name, *arguments):
        given = ["-m", "operando.streamer.cli", "replay", str(recording), "--speed", "max"]
        child = rig.start(Child([*given, *map(str, arguments)], tmp_path / f"{name}.log"))
        assert child.wait(90) == 0, child.log.read_text()
        return child.log.read_text()

    service = rig.service("--profile", "sim_txm", "--runs", "2")
    proxy = f"127.0.0.1:{rig.port_in}"
    told = replay(bad, "broken", "--zmq", proxy, "--faults", script)
    injected = "faults injected with seed 3: 4 corrupt, 1 duplicate, 1 nan, 1 reorder"
    assert injected in told
    replay(good, "whole", "--zmq", proxy)
    assert service.wait(90) == 0, service.log.read_text()
    log = service.log.read_text()
    assert "Traceback" not in log
    assert len(re.findall(r"dropped a message of \d+ bytes", log)) >= 2  # once per kind
    first, second = LEDGER.findall(log)
    assert first.startswith(
        "ledger: 8 received = 3 aligned + 0 degraded, 1 nan, 3 never_arrived, 1 out_of_order "
        "(balanced)"
    )
    assert second.startswith("ledger: 8 received = 8 aligned + 0 degraded (balanced)")

    # without a network the same faults are counted the same
    here = replay(bad, "here", "--profile", "sim_txm", "--faults", script)
    assert LEDGER.findall(here) == [first]
    assert "4 damaged messages were dropped" in here
    assert injected in here
