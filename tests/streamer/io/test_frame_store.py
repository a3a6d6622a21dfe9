from __future__ import annotations

import shutil

import numpy as np
import pytest

from operando.streamer.io.frame_store import FrameStore


def key(number: int, run: str = "run") -> tuple[str, int]:
    return run, number


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


def test_beyond_the_room_on_disk_the_oldest_are_given_up(tmp_path):
    with FrameStore(max_bytes=500, max_disk_bytes=1200, folder=tmp_path) as store:
        for number in range(6):
            store.put(key(number), image(number))
        assert sum(f.stat().st_size for f in tmp_path.rglob("*.npy")) <= 1200
        with pytest.raises(KeyError):
            store.get(key(0))
        np.testing.assert_array_equal(store.get(key(5)), image(5))
        np.testing.assert_array_equal(store.get(key(4)), image(4))


def test_putting_again_replaces(tmp_path):
    store = FrameStore(max_bytes=10_000, folder=tmp_path)
    store.put(key(1), image(1))
    store.put(key(1), image(2))
    assert store.bytes_in_memory == image(0).nbytes
    np.testing.assert_array_equal(store.get(key(1)), image(2))


def test_a_folder_that_is_cleaned_away_costs_the_images_in_it_only(tmp_path):
    store = FrameStore(max_bytes=500, folder=tmp_path)
    store.put(key(0), image(0))
    store.put(key(1), image(1))
    shutil.rmtree(next(tmp_path.iterdir()))
    with pytest.raises(KeyError):
        store.get(key(0))
    with pytest.raises(FileNotFoundError):
        store.put(key(2), image(2))
    assert store.bytes_in_memory == image(2).nbytes
    np.testing.assert_array_equal(store.get(key(2)), image(2))
    store.drop_run("run")
    assert len(store) == store.bytes_in_memory == 0
    store.close()
