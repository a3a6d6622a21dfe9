"""HDF5 files while another process writes them."""

from __future__ import annotations

import threading
import time

import pytest

from operando.streamer.errors import AssetLocked, AssetNotReady
from operando.streamer.io.assets import AssetSettings, AssetStore

pytestmark = pytest.mark.system


@pytest.mark.parametrize("options", [("latest",), ("latest", "gzip")])
def test_frames_are_read_as_a_swmr_writer_flushes_them(tmp_path, new_store, ref, writer, options):
    process = writer(tmp_path / "a.h5", *options)
    process("swmr")
    store = new_store()
    for i in range(5):
        process(f"write {i}", "flush")
        images = store.read(ref(tmp_path / "a.h5", i, i + 1))
        assert images.shape == (1, 16, 20)
        assert (images == i + 1).all()


def test_a_frame_that_is_flushed_late_is_waited_for(tmp_path, ref, writer):
    process = writer(tmp_path / "a.h5", "latest")
    process("swmr", "write 0")
    late = threading.Timer(0.3, process, args=("flush",))
    late.start()
    store = AssetStore(AssetSettings(allowed_roots=(tmp_path,), retry_for=5.0))
    start = time.monotonic()
    assert (store.read(ref(tmp_path / "a.h5")) == 1).all()
    assert 0.2 < time.monotonic() - start < 3
    late.join()
    store.close()


def test_a_writer_that_never_flushes_is_waited_for_once(tmp_path, new_store, ref, writer, clock):
    process = writer(tmp_path / "a.h5", "latest")
    process("swmr")
    store = new_store(retry_for=2.0, retry_every=0.1)
    for i in range(5):
        process(f"write {i}")
        with pytest.raises(AssetNotReady, match="flush"):
            store.read(ref(tmp_path / "a.h5", i, i + 1))
    assert clock.now == pytest.approx(2.0, abs=0.11)
    process("close")
    store.reopen("res")
    assert [int(store.read(ref(tmp_path / "a.h5", i, i + 1)).max()) for i in range(5)] == [
        1,
        2,
        3,
        4,
        5,
    ]


def test_a_frame_whose_length_is_flushed_but_not_its_pixels_is_not_blank(
    tmp_path, new_store, ref, writer
):
    process = writer(tmp_path / "a.h5", "latest")
    process("swmr", "grow 2", "flush")
    store = new_store(retry_for=0)
    with pytest.raises(AssetNotReady, match="pixels are not flushed"):
        store.read(ref(tmp_path / "a.h5", 0, 2))
    process("write 0", "write 1", "flush")
    assert store.read(ref(tmp_path / "a.h5", 0, 2)).max() == 2


def test_a_writer_without_swmr_is_told_apart(tmp_path, new_store, ref, writer, clock):
    process = writer(tmp_path / "a.h5", "latest")
    process("write 0", "flush")
    store = new_store(retry_for=1.0)
    with pytest.raises(AssetLocked, match="without SWMR"):
        store.read(ref(tmp_path / "a.h5"))
    waited = clock.now
    process("write 1", "flush")
    with pytest.raises(AssetLocked):
        store.read(ref(tmp_path / "a.h5", 1, 2))
    assert clock.now == waited <= 1.0
    process("close")
    assert (store.read(ref(tmp_path / "a.h5", 1, 2)) == 2).all()


def test_an_old_format_writer_is_read_after_a_flush_and_never_wrongly(
    tmp_path, new_store, ref, writer
):
    process = writer(tmp_path / "a.h5", "earliest")
    store = new_store(retry_for=0)
    for i in range(4):
        process(f"write {i}")
        with pytest.raises((AssetLocked, AssetNotReady)):
            store.read(ref(tmp_path / "a.h5", i, i + 1))
        process("flush")
        assert (store.read(ref(tmp_path / "a.h5", i, i + 1)) == i + 1).all()
    process("close")
    for i in range(4):
        assert (store.read(ref(tmp_path / "a.h5", i, i + 1)) == i + 1).all()


def test_a_writer_that_dies_leaves_what_it_flushed(tmp_path, new_store, ref, writer):
    process = writer(tmp_path / "a.h5", "latest")
    process("swmr", "write 0", "flush")
    store = new_store(retry_for=0)
    assert store.read(ref(tmp_path / "a.h5")).max() == 1
    process.process.kill()
    process.process.wait(10)
    store.reopen("res")
    assert store.read(ref(tmp_path / "a.h5")).max() == 1
