"""Nothing that is loaded from a file is unpickled: one poisoned file for each loader."""

from __future__ import annotations

import contextlib
import pickle

import numpy as np
import pytest
import torch

from operando.models.networks.weights import WeightsError, fetch
from operando.streamer.errors import OperandoError, RecordingError, TrainingError
from operando.streamer.io.recording.reader import read_documents
from operando.streamer.lab.simulate.truth import Truth
from operando.streamer.lab.training.loop import load_checkpoint
from operando.streamer.lab.training.pool import Pool

from .messages import PAYLOADS, Bomb, stock


def objects(canary):
    array = np.empty(1, object)
    array[0] = Bomb(canary)
    return array


def test_the_bomb_is_sharp(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "sharp")))
    assert (tmp_path / "sharp").exists()


@pytest.mark.parametrize("suffix", [".msgpack", ".jsonl", ".json", ".json-seq", ".pickle"])
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_is_no_recording_whatever_it_is_called(tmp_path, canary, suffix, protocol):
    path = tmp_path / f"run{suffix}"
    path.write_bytes(pickle.dumps(("start", Bomb(canary)), protocol=protocol))
    with pytest.raises(RecordingError, match="is no recording"):
        list(read_documents(path))


@pytest.mark.parametrize("head", [b"\x92", b"\x1e", b"{", b"["], ids=["msgpack", "seq", "{", "["])
def test_a_pickle_that_begins_like_a_recording_is_not_run(tmp_path, canary, head):
    path = tmp_path / "run.msgpack"
    path.write_bytes(head + pickle.dumps(("start", Bomb(canary))))
    with contextlib.suppress(RecordingError):
        assert list(read_documents(path)) == []


def test_object_arrays_in_a_recording_are_left_out_and_the_rest_is_read(tmp_path, canary):
    path = tmp_path / "run.msgpack"
    poisoned = stock(["event", {"data": {"img": objects(canary)}}])
    path.write_bytes(stock(["start", {"uid": "a"}]) + poisoned + stock(["stop", {"uid": "b"}]))
    told = []
    names = [item.name for item in read_documents(path, report=told.append)]
    assert names == ["start", "stop"]
    assert len(told) == 1
    assert "dtype" in told[0]


@pytest.mark.parametrize("case", PAYLOADS, ids=lambda case: case.name)
def test_the_payloads_of_the_corpus_as_recordings(tmp_path, canary, case):
    path = tmp_path / "run.msgpack"
    path.write_bytes(b"\x92\xa5event" + case.make(canary).split(b" ", 2)[2])
    with contextlib.suppress(RecordingError):
        read = list(read_documents(path, report=lambda _text: None))
        assert [item for item in read if item.doc] == []


def test_weights(tmp_path, canary):
    path = tmp_path / "weights.safetensors"
    for content in (pickle.dumps(Bomb(canary)), b"\xff" * 64, (2**62).to_bytes(8, "little")):
        path.write_bytes(content)
        with pytest.raises(WeightsError):
            fetch("dual_unet", path)
    torch.save({"w": Bomb(canary)}, path)
    with pytest.raises(WeightsError):
        fetch("dual_unet", path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_checkpoints_of_the_training(tmp_path, canary):
    path = tmp_path / "checkpoint.pt"
    torch.save({"format": 1, "job": Bomb(canary)}, path)
    with pytest.raises(TrainingError):
        load_checkpoint(path)
    path.write_bytes(pickle.dumps(Bomb(canary)))
    with pytest.raises(TrainingError):
        load_checkpoint(path)


@pytest.mark.parametrize("load", [Pool.load, Truth.load], ids=["pool", "truth"])
def test_archives_of_arrays(tmp_path, canary, load):
    path = tmp_path / "arrays.npz"
    names = [*Pool.__dataclass_fields__, *Truth.__dataclass_fields__]
    np.savez(path, **dict.fromkeys(names, objects(canary)))
    with pytest.raises((ValueError, OperandoError), match=r"allow_pickle|[Oo]bject"):
        load(path)
    with path.open("wb") as file:
        pickle.dump(Bomb(canary), file)
    with pytest.raises((ValueError, OperandoError)):
        load(path)
