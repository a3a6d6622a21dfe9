"""A service that was killed, stopped or started late ends with the results of one that was not."""

from __future__ import annotations

import json
import os
import signal

import httpx
import numpy as np
import pytest

from operando.callbacks import StreamProcessor
from operando.callbacks.publisher import FramePublisher
from operando.streamer.config import load_settings
from operando.streamer.lab.simulate import SimSettings, simulate_documents

pytestmark = [pytest.mark.system, pytest.mark.slow]

SETTINGS = SimSettings(
    shape=(200, 200),
    n_particles=4,
    radius_px=(13, 18),
    energies=tuple(np.linspace(8345, 8365, 9)),
    chunk=1,
    jitter_px=1.0,
    drift_px=3.0,
)


@pytest.fixture
def documents(request):
    """A run of its own for each test: they share a server, and the same run would be there."""
    seed = sum(map(ord, request.node.name))
    return list(simulate_documents(SETTINGS.model_copy(update={"seed": seed})))


@pytest.fixture
def expected(documents, results):
    """What a processor makes of the documents when nothing is in its way."""
    told = []
    processor = StreamProcessor(load_settings("sim_txm"))
    processor.subscribe(lambda name, doc: told.append((name, doc)))
    processor.process(documents)
    processor.close()
    return told[0][1]["uid"], results.of_documents(told)


@pytest.fixture
def line(rig, tiled_server, connect, wait_until, monkeypatch, tmp_path):
    """A beamline that publishes, and the services behind it."""
    monkeypatch.setenv("OPERANDO_JOURNAL__LINGER_S", "20")
    monkeypatch.setenv("OPERANDO_JOURNAL__CHECKPOINT_S", "0.2")
    return Line(rig, tiled_server, connect(tiled_server), wait_until, tmp_path / "journal")


class Line:
    def __init__(self, rig, tiled, client, wait_until, journal):
        self.rig, self.tiled, self.client, self.wait_until = rig, tiled, client, wait_until
        self.journal = journal
        self.publisher = FramePublisher(f"127.0.0.1:{rig.port_in}")
        rig.stack.callback(self.publisher.close)

    def start(self, *arguments):
        given = ["--profile", "sim_txm", "--runs", "1", "--journal", str(self.journal), *arguments]
        return self.rig.service(*given, tiled=self.tiled)

    def publish(self, documents):
        assert self.publisher.wait_connected(10)
        for named in documents:
            self.publisher(*named)

    def wait_for_rows(self, uid, count):
        def there():
            try:
                return len(self.client[uid]["frames"]["rows"].read()) >= count
            except (KeyError, httpx.HTTPStatusError):  # announced, and not stored yet
                return False

        self.wait_until(there, 60)

    def wait_for_checkpoint(self, beyond):
        """Wait until one of this run is on disk."""

        def there():
            try:
                told = json.loads((self.journal / "reader.json").read_text())
            except (FileNotFoundError, json.JSONDecodeError):
                return False
            return told["position"] > beyond and (self.journal / "checkpoint/checkpoint").exists()

        self.wait_until(there, 60)

    def kill(self, service):
        service.process.send_signal(signal.SIGKILL)
        service.process.wait()

    def keeper(self):
        """Process id of the keeper that is ready, None while there is none."""
        try:
            told = json.loads((self.journal / "keeper.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return told["pid"] if told["ready"] else None

    def kill_keeper(self):
        os.kill(self.keeper(), signal.SIGKILL)

    def check(self, expected, results):
        uid, whole = expected
        found = results.of_tiled(self.client[uid])
        found.assert_equal(whole)
        assert found.stop["ledger"] == whole.stop["ledger"]
        assert found.stop["ledger"]["balanced"]


def test_killed_twice_in_a_run(line, documents, expected, results):
    uid, _ = expected
    third = len(documents) // 3
    service = line.start()
    line.publish(documents[:third])
    line.wait_for_rows(uid, 2)
    line.wait_for_checkpoint(1000)
    line.kill(service)
    line.publish(documents[third : 2 * third])  # the keeper is still there
    service = line.start()
    assert "going on from the checkpoint" in service.log.read_text()
    line.wait_for_rows(uid, 5)
    line.kill(service)
    line.publish(documents[2 * third :])
    service = line.start()
    assert service.wait(120) == 0, service.log.read_text()
    line.check(expected, results)
    assert not any(p.suffix == ".unusable" for p in (line.journal / "checkpoint").iterdir())


def test_stopped_and_started_again(line, documents, expected, results):
    half = len(documents) // 2
    service = line.start()
    line.publish(documents[:half])
    line.wait_for_rows(expected[0], 3)
    service.process.send_signal(signal.SIGTERM)
    assert service.wait(60) == 0, service.log.read_text()
    assert line.client[expected[0]].metadata.get("stop") is None  # it is not over
    service = line.start()
    line.publish(documents[half:])
    assert service.wait(120) == 0, service.log.read_text()
    line.check(expected, results)


def test_what_nobody_received_is_fetched_from_a_recording(
    line, documents, expected, results, tmp_path
):
    """The keeper is killed too, so that documents are lost; a recorder has them."""
    folder = tmp_path / "recorded"
    recorder = line.rig.start(_recorder(tmp_path, line.rig.port_out, folder))
    third = len(documents) // 3
    service = line.start("--backfill", str(folder))
    line.publish(documents[:third])
    line.wait_for_rows(expected[0], 1)
    line.kill(service)
    line.kill_keeper()
    line.publish(documents[third : 2 * third])
    line.wait_until(lambda: _recorded(folder) >= 2 * third, 30)
    service = line.start("--backfill", str(folder))
    line.publish(documents[2 * third :])
    assert service.wait(120) == 0, service.log.read_text()
    recorder.end()
    line.check(expected, results)


def test_a_keeper_that_was_killed_is_started_again(line, documents, expected, results):
    half = len(documents) // 2
    service = line.start()
    line.publish(documents[:half])
    line.wait_for_rows(expected[0], 2)
    old = line.keeper()
    line.kill_keeper()
    line.wait_until(lambda: line.keeper() not in (None, old), 60)
    line.publish(documents[half:])
    assert service.wait(120) == 0, service.log.read_text()
    assert "the keeper of the journal" in service.log.read_text()
    line.check(expected, results)


def _recorder(folder, port, target):
    from operando.streamer.lab.rig import Child

    child = Child(
        ["-m", "operando.streamer.cli", "record", "--zmq", f"127.0.0.1:{port}", "-o", str(target)],
        folder / "record.log",
    )
    child.wait_for("ready", 60)
    return child


def _recorded(folder):
    return sum(p.stat().st_size // 8 for p in folder.glob("*.arrivals"))
