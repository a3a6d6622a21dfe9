"""TIFF and NPY files."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from operando.streamer.errors import AssetError, AssetMissing, AssetNotReady
from operando.streamer.io.assets.sequences import file_name

STACK = np.arange(6 * 16 * 20, dtype=np.uint16).reshape(6, 16, 20)
TIFFS = "multipart/related;type=image/tiff"
NPYS = "multipart/related;type=application/x-npy"


@pytest.mark.parametrize(
    ("template", "filename", "index", "expected"),
    [
        ("%s%s_%6.6d.tiff", "scan", 7, "scan_000007.tiff"),
        ("%s_%04d.tif", "scan", 12345, "scan_12345.tif"),
        ("%s%s_%3d.tif", "a", 7, "a_  7.tif"),
        ("img_{:05d}.tif", "", 3, "img_00003.tif"),
        ("img_{}.tif", "", 3, "img_3.tif"),
        ("_{:d}.npy", "", 3, "_3.npy"),
        ("/{filename}.tif", "scan", 3, "/scan.tif"),
        ("100%%_{:2d}{{x}}.tif", "", 3, "100%_ 3{x}.tif"),
    ],
)
def test_file_names(template, filename, index, expected):
    assert file_name(template, filename, index) == expected


@pytest.mark.parametrize(
    "template",
    ["%1000000000d", "{:>1000000000}", "{0.__class__}", "{x}", "%(a)s", "{!r}", "%x", "%-5d"],
)
def test_templates_that_could_do_more_than_count_are_refused(template):
    with pytest.raises(AssetMissing, match="not understood"):
        file_name(template, "", 1)


def test_area_detector_tiffs(tmp_path, new_store, ref):
    for i, image in enumerate(STACK):
        tifffile.imwrite(tmp_path / f"scan_{i:06d}.tiff", image)
    parameters = {"template": "%s%s_%6.6d.tiff", "filename": "scan", "frame_per_point": 3}
    asset = ref(tmp_path, 3, 6, "AD_TIFF", frames_per_index=3, **parameters)
    np.testing.assert_array_equal(new_store().read(asset), STACK[3:6])


@pytest.mark.parametrize(("per_file", "per_index"), [(1, 1), (1, 2), (2, 2), (2, 4), (3, 3)])
def test_tiffs_of_a_stream_resource(tmp_path, new_store, ref, per_file, per_index):
    for i in range(0, 6, per_file):
        tifffile.imwrite(
            tmp_path / f"img_{i // per_file:05d}.tif",
            STACK[i : i + per_file],
            photometric="minisblack",
        )
    parameters = {"template": "img_{:05d}.tif", "chunk_shape": [per_file, 16, 20]}
    store = new_store()
    for first in range(0, 6 - per_index + 1, per_index):
        uri = f"file://localhost/{tmp_path}/"
        asset = ref(uri, first, first + per_index, TIFFS, frames_per_index=per_index, **parameters)
        np.testing.assert_array_equal(store.read(asset), STACK[first : first + per_index])


def test_one_tiff_with_all_images(tmp_path, new_store, ref):
    tifffile.imwrite(tmp_path / "all.tif", STACK, photometric="minisblack")
    asset = ref(tmp_path / "all.tif", 2, 4, "image/tiff")
    np.testing.assert_array_equal(new_store().read(asset), STACK[2:4])


def test_npy_files(tmp_path, new_store, ref):
    np.save(tmp_path / "all.npy", STACK)
    for i in range(3):
        np.save(tmp_path / f"part_{i}.npy", STACK[2 * i : 2 * i + 2])
    store = new_store()
    asset = ref(tmp_path / "all.npy", 1, 3, "application/x-npy", resource="a")
    np.testing.assert_array_equal(store.read(asset), STACK[1:3])
    uri = f"{tmp_path}/part"
    asset = ref(uri, 2, 4, NPYS, template="_{:d}.npy", frames_per_index=2, resource="b")
    np.testing.assert_array_equal(store.read(asset), STACK[2:4])
    asset = ref(uri, 1, 3, "NPY_SEQ", resource="c")
    np.testing.assert_array_equal(store.read(asset), STACK[2:6])


def test_half_written_files_are_not_ready(tmp_path, new_store, ref):
    store = new_store(retry_for=0)
    np.save(tmp_path / "a.npy", STACK)
    tifffile.imwrite(tmp_path / "a.tif", STACK, photometric="minisblack")
    tifffile.imwrite(tmp_path / "z.tif", STACK, photometric="minisblack", compression="zlib")
    cases = {"a.npy": "application/x-npy", "a.tif": "image/tiff", "z.tif": "image/tiff"}
    for name, kind in cases.items():
        path = tmp_path / name
        whole = path.read_bytes()
        for part in (0, 10, len(whole) // 2):
            path.write_bytes(whole[:part])
            with pytest.raises((AssetNotReady, AssetMissing)):
                store.read(ref(path, 0, 6, kind, resource=f"{name}{part}"))
        path.write_bytes(whole)
        assert store.read(ref(path, 0, 6, kind, resource=f"{name}0")).shape == (6, 16, 20)


def test_files_larger_than_the_bounds_are_not_read(tmp_path, new_store, ref):
    np.save(tmp_path / "a.npy", STACK)
    tifffile.imwrite(tmp_path / "a.tif", STACK, photometric="minisblack")
    store = new_store(max_frame_bytes=100)
    for name, kind in {"a.npy": "application/x-npy", "a.tif": "image/tiff"}.items():
        with pytest.raises(AssetError, match="max_frame_bytes"):
            store.read(ref(tmp_path / name, 0, 1, kind))
