from __future__ import annotations

import numpy as np
import pytest

from operando.streamer.frame_store import FrameStore
from operando.streamer.frames import FrameKey


def key(number: int, run: str = "run") -> FrameKey:
    return FrameKey(run=run, stream="primary", data_key="image", seq_num=number)


def image(value: float) -> np.ndarray:
    return np.full((10, 10), value, np.float32)


def test_the_oldest_spill_to_disk_and_all_come_back(tmp_path):
    with FrameStore(max_bytes=1000, folder=tmp_path) as store:
        for number in range(6):
            store.put(key(number), image(number))
        assert store.bytes_in_memory <= 1000
        assert len(list(tmp_path.rglob("*.npy"))) == 4
        for number in range(6):
            np.testing.assert_array_equal(store.get(key(number)), image(number))
    assert list(tmp_path.iterdir()) == []


def test_dropping_frees_memory_and_disk(tmp_path):
    store = FrameStore(max_bytes=500, folder=tmp_path)
    for number in range(3):
        store.put(key(number), image(number))
    store.put(key(0, run="other"), image(9))
    store.drop(key(1))
    store.drop(key(1))
    with pytest.raises(KeyError):
        store.get(key(1))
    store.drop_run("run")
    assert len(store) == 1
    np.testing.assert_array_equal(store.get(key(0, run="other")), image(9))
    assert list(tmp_path.rglob("*.npy")) == []
    store.close()
