"""A checkpoint on disk is never ahead of what the sinks have confirmed."""

from __future__ import annotations

import numpy as np
import pytest

from operando.callbacks.sinks.checkpointer import Checkpointer


class Processor:
    """Counts; its state is what it has counted."""

    config_sha256 = "one"

    def __init__(self):
        self.state = {"count": 0, "image": np.zeros(100_000)}
        self.open_runs = frozenset()

    def snapshot(self, blobs):
        return self.state

    def restore(self, state, blobs):
        self.state = state

    def count(self):
        self.state = {**self.state, "count": self.state["count"] + 1}


class Sink:
    received = 0
    confirmed = 0


class Log:
    position = 0
    confirmed_to = None

    def confirm(self, position):
        self.confirmed_to = position


class Rig:
    def __init__(self, folder, target="tiled"):
        self.now = 0.0
        self.processor, self.sink, self.log = Processor(), Sink(), Log()
        self.checkpointer = Checkpointer(
            self.processor, [self.sink], folder, target, every=2.0, clock=lambda: self.now
        )

    def work(self, seconds=1.0):
        """Process ten bytes into one result."""
        self.processor.count()
        self.log.position += 10
        self.sink.received += 1
        self.now += seconds
        self.checkpointer.step(self.log)


@pytest.fixture
def rig(tmp_path):
    return Rig(tmp_path)


def resumed(folder, target="tiled"):
    rig = Rig(folder, target)
    return rig, rig.checkpointer.resume()


def test_nothing_is_written_before_it_is_confirmed(rig, tmp_path):
    for _ in range(5):
        rig.work()
    assert resumed(tmp_path)[1] is None
    assert rig.log.confirmed_to is None
    rig.sink.confirmed = 2  # the checkpoint was made after two
    rig.checkpointer.step(rig.log)
    other, position = resumed(tmp_path)
    assert position == rig.log.confirmed_to == 20
    assert other.processor.state["count"] == 2


def test_checkpoints_follow_each_other_under_load(rig, tmp_path):
    for _ in range(9):
        rig.work()
        rig.sink.confirmed = rig.sink.received - 1
    assert rig.checkpointer.written >= 3
    assert resumed(tmp_path)[1] >= 60


def test_the_last_one_is_of_everything(rig, tmp_path):
    rig.work()
    rig.sink.confirmed = 1
    assert rig.checkpointer.finish(rig.log, 5.0)
    other, position = resumed(tmp_path)
    assert (position, other.processor.state["count"]) == (10, 1)
    assert rig.checkpointer.finish(rig.log, 5.0)
    assert rig.checkpointer.written == 1


def test_waiting_for_a_sink_ends(rig, monkeypatch):
    rig.work()
    monkeypatch.setattr(
        "operando.callbacks.sinks.checkpointer.time.sleep",
        lambda s: setattr(rig, "now", rig.now + s),
    )
    assert not rig.checkpointer.finish(rig.log, 5.0)


def test_a_run_that_is_open_keeps_its_part_of_the_journal(rig, tmp_path):
    rig.work(0.1)
    rig.processor.open_runs = frozenset({"run"})
    rig.work(0.1)  # its start lies between 10 and 20
    for _ in range(4):
        rig.work()
        rig.sink.confirmed = rig.sink.received
        rig.checkpointer.step(rig.log)
    assert rig.log.confirmed_to == 10
    # with other settings, all of that run is processed again
    assert resumed(tmp_path, "another server")[1] == 10
    assert resumed(tmp_path)[1] > 10


def test_a_damaged_checkpoint_is_put_aside(rig, tmp_path, caplog):
    rig.work()
    rig.sink.confirmed = 1
    assert rig.checkpointer.finish(rig.log, 5.0)
    (tmp_path / "checkpoint").write_bytes(b"nothing")
    assert resumed(tmp_path)[1] is None
    assert "processed from its beginning" in caplog.text
    assert (tmp_path / "checkpoint.unusable").exists()


def test_without_one_of_its_arrays_open_runs_are_processed_again(rig, tmp_path, caplog):
    rig.work()
    rig.processor.open_runs = frozenset({"run"})
    rig.work()
    rig.sink.confirmed = 2
    assert rig.checkpointer.finish(rig.log, 5.0)
    for path in (tmp_path / "blobs").iterdir():
        path.write_bytes(b"lost with the power")
    other, position = resumed(tmp_path)
    assert position == 10
    assert other.processor.state["count"] == 0
    assert "damaged" in caplog.text


def test_a_state_that_cannot_be_written_costs_the_checkpoint_only(rig, tmp_path, caplog):
    rig.processor.state = {**rig.processor.state, "thread": object()}
    for _ in range(6):
        rig.work()
        rig.sink.confirmed = rig.sink.received
    assert caplog.text.count("no checkpoint can be written") == 1
    assert not rig.checkpointer.finish(rig.log, 5.0)
    del rig.processor.state["thread"]
    rig.work(10.0)
    rig.sink.confirmed = rig.sink.received
    rig.checkpointer.step(rig.log)
    assert resumed(tmp_path)[1] == 70
    assert len(list((tmp_path / "blobs").iterdir())) == 1
