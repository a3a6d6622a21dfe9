"""HDF5 files at rest: ranges, shapes, links, bounds."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from operando.streamer.errors import AssetError, AssetMissing, AssetNotReady

STACK = np.arange(6 * 16 * 20, dtype=np.uint16).reshape(6, 16, 20)


@pytest.fixture
def stack(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["entry/data/data"] = STACK
    return path


@pytest.mark.parametrize("kind", ["application/x-hdf5", "AD_HDF5", "HDF5"])
def test_a_range_of_images(stack, new_store, ref, kind):
    store = new_store()
    np.testing.assert_array_equal(store.read(ref(stack, 2, 5, kind)), STACK[2:5])
    np.testing.assert_array_equal(store.read(ref(f"file://localhost{stack}", 0, 1)), STACK[:1])


def test_images_of_events_in_a_dataset_of_four_axes(tmp_path, new_store, ref):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/data/data"] = STACK.reshape(2, 3, 16, 20)
    store = new_store()
    np.testing.assert_array_equal(store.read(ref(tmp_path / "a.h5", 3, 6)), STACK[3:6])
    np.testing.assert_array_equal(store.read(ref(tmp_path / "a.h5", 2, 4)), STACK[2:4])


def test_a_single_image(tmp_path, new_store, ref):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/data/data"] = STACK[0]
    assert new_store().read(ref(tmp_path / "a.h5")).shape == (1, 16, 20)


def test_one_file_per_point(tmp_path, new_store, ref):
    for point in range(2):
        with h5py.File(tmp_path / f"scan_{point:06d}.h5", "w") as file:
            file["entry/data/data"] = STACK[3 * point : 3 * point + 3]
    single = {"template": "%s%s_%6.6d.h5", "filename": "scan", "frame_per_point": 3}
    store = new_store()
    for point in (1, 0):
        asset = ref(tmp_path, 3 * point, 3 * point + 3, "AD_HDF5_SINGLE", **single)
        np.testing.assert_array_equal(store.read(asset), STACK[3 * point : 3 * point + 3])


def test_soft_external_and_virtual_links_inside_the_roots(stack, tmp_path, new_store, ref):
    with h5py.File(tmp_path / "master.h5", "w") as file:
        file["soft"] = h5py.SoftLink("/entry/far/data")
        file["entry/far"] = h5py.ExternalLink("a.h5", "/entry/data")
        layout = h5py.VirtualLayout((6, 16, 20), "u2")
        layout[:] = h5py.VirtualSource("a.h5", "entry/data/data", (6, 16, 20))
        file.create_virtual_dataset("virtual", layout)
    store = new_store()
    for name in ("soft", "/entry/far/data", "virtual"):
        asset = ref(tmp_path / "master.h5", 1, 3, dataset=name)
        np.testing.assert_array_equal(store.read(asset), STACK[1:3], err_msg=name)


def test_what_is_missing_is_named(stack, tmp_path, new_store, ref, clock):
    store = new_store(retry_for=0.2)
    for asset, error, word in (
        (ref(tmp_path / "no.h5", resource="1"), AssetMissing, "no such file"),
        (ref(stack, dataset="/entry/nothing", resource="2"), AssetMissing, "entry/nothing"),
        (ref(stack, dataset="/entry/data", resource="3"), AssetMissing, "is a group"),
        (ref(stack, 5, 7, resource="4"), AssetNotReady, "only 6 are flushed"),
    ):
        with pytest.raises(error, match=word):
            store.read(asset)
    assert clock.now == pytest.approx(4 * 0.2, abs=0.05)


@pytest.mark.parametrize(
    ("shape", "dtype", "word"),
    [
        ((6,), "u2", "should hold images"),
        ((2, 2, 2, 8, 8), "u2", "should hold images"),
        ((3, 8, 8), "c8", "real numbers"),
        ((3, 8, 8), "S4", "real numbers"),
    ],
)
def test_datasets_that_hold_no_images(tmp_path, new_store, ref, shape, dtype, word):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("entry/data/data", shape, dtype)
    with pytest.raises(AssetError, match=word):
        new_store().read(ref(tmp_path / "a.h5"))


def test_nothing_larger_than_the_bounds_is_read(tmp_path, new_store, ref):
    path = tmp_path / "bomb.h5"
    with h5py.File(path, "w") as file:
        # A few kilobytes on disk, terabytes when read.
        file.create_dataset("wide", (1, 10**6, 10**6), "f8", chunks=(1, 64, 64))
        file.create_dataset("long", (10**6, 64, 64), "u2", chunks=(1, 64, 64))
        file.create_dataset("block", (10**5, 64, 64), "u1", chunks=(10**5, 64, 64))
    assert path.stat().st_size < 100_000
    store = new_store(max_frame_bytes=10**6, max_chunk_bytes=10**7)
    for name, stop, word in (
        ("wide", 1, "max_frame_bytes"),
        ("long", 10**6, "max_chunk_bytes"),
        ("block", 1, "max_chunk_bytes"),
    ):
        with pytest.raises(AssetError, match=word):
            store.read(ref(path, 0, stop, dataset=name))


def test_a_file_that_is_no_hdf5_is_told(tmp_path, new_store, ref):
    (tmp_path / "a.h5").write_bytes(b"not hdf5" * 100)
    with pytest.raises(AssetNotReady, match="cannot be read"):
        new_store().read(ref(tmp_path / "a.h5"))


def test_blank_images_that_were_written_are_images(tmp_path, new_store, ref):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("entry/data/data", (4, 16, 20), "u2", chunks=(2, 8, 20))
        data[:2] = 0
    store = new_store(retry_for=0)
    assert not store.read(ref(tmp_path / "a.h5", 0, 2)).any()
    with pytest.raises(AssetNotReady, match="not flushed"):
        store.read(ref(tmp_path / "a.h5", 2, 3))


def test_the_file_of_the_writer_is_never_locked(stack, new_store, ref, writer, tmp_path):
    process = writer(tmp_path / "w.h5", "latest")
    process("write 0", "close")
    store = new_store()
    assert store.read(ref(tmp_path / "w.h5")).max() == 1
    process("append", "write 1", "close")  # fails where the reader holds a lock
    assert store.read(ref(tmp_path / "w.h5", 1, 2)).max() == 2


@pytest.mark.parametrize("swmr", [True, False])
def test_a_writer_in_this_very_process_is_read(tmp_path, new_store, ref, swmr):
    store = new_store(retry_for=0)
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        data = file.create_dataset(
            "entry/data/data", (0, 8, 8), "u2", maxshape=(None, 8, 8), chunks=(1, 8, 8)
        )
        if swmr:
            file.swmr_mode = True
        for i in range(3):
            data.resize(i + 1, axis=0)
            data[i] = i + 1
            file.flush()
            assert (store.read(ref(tmp_path / "a.h5", i, i + 1)) == i + 1).all()
    store.reopen("res")
    assert (store.read(ref(tmp_path / "a.h5", 2, 3)) == 3).all()
