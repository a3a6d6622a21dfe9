"""Importers on real files: documents are valid, ordered, repeatable; bad files are named."""

from __future__ import annotations

import shutil
from pathlib import Path

import event_model
import h5py
import numpy as np
import pytest
import tifffile

from operando.streamer.core import assemble
from operando.streamer.core.frames import FrameRef, Role
from operando.streamer.errors import ImportDataError
from operando.streamer.io.importers import (
    IMPORTERS,
    detect_importer,
    get_importer,
    import_documents,
    import_to_recording,
)
from operando.streamer.io.importers.plan import energy_in_name, read_energies, to_ev
from operando.streamer.io.recording.reader import read_documents

ENERGIES = (8324.0, 8354.0, 8400.5)
SHAPE = (24, 32)


def stack(count: int, base: int) -> np.ndarray:
    """Images that can be told apart: image i holds base + i."""
    return np.stack([np.full(SHAPE, base + i, np.uint16) for i in range(count)])


@pytest.fixture
def tiff_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "cell 7"
    folder.mkdir()
    tifffile.imwrite(folder / "scan.tif", stack(6, 100), photometric="minisblack")
    tifffile.imwrite(folder / "scan_flat.tif", stack(3, 200), photometric="minisblack")
    (folder / "darks").mkdir()
    tifffile.imwrite(folder / "darks" / "0.tif", stack(1, 5)[0])
    (folder / "energies.txt").write_text("# keV\n8.324\n8.354\n8.4005\n")
    return folder


@pytest.fixture
def fxi_file(tmp_path: Path) -> Path:
    path = tmp_path / "scan_12345.h5"
    with h5py.File(path, "w") as file:
        file["img_xanes"] = stack(3, 100)
        file["img_bkg"] = stack(3, 200)
        file["img_dark"] = stack(2, 5)
        file["X_eng"] = np.array(ENERGIES) / 1000
        file["scan_time"] = 1_700_000_000.0
        file["scan_id"] = 12345
    return path


def told(docs: list[tuple[str, dict]]) -> list[tuple[str, float | None, int]]:
    """(stream, energy, value of the image) of every event, in order."""
    names = {doc["uid"]: doc["name"] for kind, doc in docs if kind == "descriptor"}
    return [
        (
            names[doc["descriptor"]],
            doc["data"].get("energy"),
            int(doc["data"]["camera_image"][0, 0]),
        )
        for kind, doc in docs
        if kind == "event"
    ]


def assert_valid(docs: list[tuple[str, dict]]) -> None:
    assert docs[0][0] == "start"
    assert docs[-1][0] == "stop"
    for kind, doc in docs:
        event_model.schema_validators[event_model.DocumentNames[kind]].validate(doc)
    events = [doc for kind, doc in docs if kind == "event"]
    for kind, doc in docs:
        if kind != "descriptor":
            continue
        own = [event for event in events if event["descriptor"] == doc["uid"]]
        assert [event["seq_num"] for event in own] == list(range(1, len(own) + 1))
        assert docs[-1][1]["num_events"][doc["name"]] == len(own)
        for event in own:
            assert event["data"].keys() == event["timestamps"].keys() == doc["data_keys"].keys()
            image = event["data"]["camera_image"]
            assert list(image.shape) == doc["data_keys"]["camera_image"]["shape"]
            assert image.dtype.str == doc["data_keys"]["camera_image"]["dtype_numpy"]


def test_every_importer_can_be_made():
    for name in IMPORTERS:
        assert callable(get_importer(name).scan)


def test_tiff_folder_with_flats_darks_and_energies(tiff_folder: Path):
    assert detect_importer(tiff_folder) == "tiff"
    seen: list[tuple[int, int]] = []
    docs = list(
        import_documents(
            tiff_folder, progress=lambda done, total: seen.append((done, total)), exposure=0.5
        )
    )
    assert_valid(docs)
    assert told(docs) == [
        ("dark", None, 5),
        ("primary", 8324.0, 100),
        ("primary", 8324.0, 101),
        ("flat", 8324.0, 200),
        ("primary", 8354.0, 102),
        ("primary", 8354.0, 103),
        ("flat", 8354.0, 201),
        ("primary", 8400.5, 104),
        ("primary", 8400.5, 105),
        ("flat", 8400.5, 202),
    ]
    assert seen == [(i, 10) for i in range(1, 11)]
    assert docs[0][1]["sample"] == "cell 7"
    units = docs[3][1]["data_keys"] if docs[3][0] == "descriptor" else None
    assert units is not None
    assert units["energy"]["units"] == "eV"
    assert units["camera_exposure_time"]["units"] == "s"


def test_tiff_stack_beside_others_takes_only_its_own(tiff_folder: Path):
    tifffile.imwrite(tiff_folder / "other.tif", stack(4, 900), photometric="minisblack")
    docs = list(import_documents(tiff_folder / "scan.tif"))
    assert {value for _, _, value in told(docs)} == {*range(100, 106), 200, 201, 202, 5}


def test_tiff_files_with_energies_in_their_names(tmp_path: Path):
    for i, energy in enumerate((8324, 8330, 10000)):
        tifffile.imwrite(tmp_path / f"img_{energy}eV.tif", stack(1, i)[0])
    docs = list(import_documents(tmp_path))
    assert told(docs) == [("primary", 8324, 0), ("primary", 8330, 1), ("primary", 10000, 2)]


def test_tiff_given_flat_and_energies(tmp_path: Path):
    tifffile.imwrite(tmp_path / "a.tif", stack(2, 10), photometric="minisblack")
    tifffile.imwrite(tmp_path / "open beam.tif", stack(3, 20), photometric="minisblack")
    listed = tmp_path / "list.csv"
    listed.write_text("index,Energy (eV)\n0,8324\n1,8354\n")
    docs = list(
        import_documents(tmp_path / "a.tif", flat=tmp_path / "open beam.tif", energies=listed)
    )
    assert_valid(docs)
    # Three flats for two energies belong to none of them: they come first.
    assert told(docs) == [
        ("flat", None, 20),
        ("flat", None, 21),
        ("flat", None, 22),
        ("primary", 8324.0, 10),
        ("primary", 8354.0, 11),
    ]


def test_imagej_stack_with_one_page(tmp_path: Path):
    path = tmp_path / "long.tif"
    tifffile.imwrite(path, stack(5, 10), imagej=True)
    assert [value for _, _, value in told(list(import_documents(path)))] == [10, 11, 12, 13, 14]


def test_energies_that_do_not_fit_are_refused(tiff_folder: Path):
    (tiff_folder / "energies.txt").write_text("8.324\n8.354\n8.4\n8.5\n")
    with pytest.raises(ImportDataError, match="6 sample images do not fit 4 energies"):
        list(import_documents(tiff_folder))


def test_a_damaged_tiff_is_skipped_and_named(tiff_folder: Path, tmp_path: Path):
    (tiff_folder / "energies.txt").unlink()
    (tiff_folder / "broken.tif").write_bytes(b"II*\0 no")
    report = import_to_recording(tiff_folder, tmp_path / "out.msgpack")
    assert [entry.path.name for entry in report.skipped] == ["broken.tif"]
    assert report.images == {"dark": 1, "primary": 6, "flat": 3}


def test_fxi_file(fxi_file: Path):
    assert detect_importer(fxi_file) == "fxi"
    docs = list(import_documents(fxi_file, exposure=0.1))
    assert_valid(docs)
    assert told(docs) == [
        ("dark", None, 5),
        ("dark", None, 6),
        ("primary", 8324.0, 100),
        ("flat", 8324.0, 200),
        ("primary", 8354.0, 101),
        ("flat", 8354.0, 201),
        ("primary", 8400.5, 102),
        ("flat", 8400.5, 202),
    ]
    assert docs[0][1]["scan_id"] == 12345
    assert docs[0][1]["time"] == 1_700_000_000.0
    assert docs[-1][1]["time"] > docs[0][1]["time"]


def test_fxi_chunks_of_repeats(tmp_path: Path):
    path = tmp_path / "chunks.h5"
    with h5py.File(path, "w") as file:
        file["img_xanes"] = stack(6, 100).reshape(3, 2, *SHAPE)
        file["X_eng"] = np.array(ENERGIES) / 1000
    values = told(list(import_documents(path)))
    assert values[:3] == [
        ("primary", 8324.0, 100),
        ("primary", 8324.0, 101),
        ("primary", 8354.0, 102),
    ]


def test_fxi_without_energies_is_refused(tmp_path: Path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["img_xanes"] = stack(3, 100)
    with pytest.raises(ImportDataError, match="X_eng"):
        list(import_documents(path))


def test_a_recording_reads_back_and_is_repeatable(fxi_file: Path, tmp_path: Path):
    first = import_to_recording(fxi_file, tmp_path / "a.msgpack")
    second = import_to_recording(fxi_file, tmp_path / "b.msgpack")
    assert first.output.read_bytes() == second.output.read_bytes()
    assert first.run == second.run
    assert (first.files, first.energies, first.skipped) == (1, 3, ())
    back = [(item.name, item.doc) for item in read_documents(first.output)]
    assert_valid(back)
    assert told(back) == told(list(import_documents(fxi_file)))


def test_what_is_no_data_is_refused(tmp_path: Path):
    with pytest.raises(ImportDataError, match="does not exist"):
        detect_importer(tmp_path / "nothing")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ImportDataError, match="nothing that can be imported"):
        detect_importer(tmp_path)
    with pytest.raises(ImportDataError, match="no importer 'dicom'"):
        get_importer("dicom")
    with pytest.raises(ImportDataError, match="cannot be used"):
        get_importer("fxi", colour="blue")


@pytest.mark.parametrize(
    ("name", "energy"),
    [
        ("rep01_20161456_ssrl-test-data_08324.0_eV_001of003.xrm", 8324.0),
        ("img_8.333keV.tif", 8333.0),
        ("frame_0001.tif", None),
    ],
)
def test_energy_in_a_name(name: str, energy: float | None):
    assert energy_in_name(name) == energy


def test_units_of_energies(tmp_path: Path):
    assert to_ev([8.333, 8.3335]) == (8333.0, 8333.5)
    assert to_ev([990.0, 1010.0]) == (990.0, 1010.0)
    bad = tmp_path / "e.txt"
    bad.write_text("8.3\noops\n")
    with pytest.raises(ImportDataError, match="oops"):
        read_energies(bad)


@pytest.mark.data
class TestRealXrm:
    """186 + 620 files of a real scan, of which 26 whole and 2 damaged ones are here."""

    def test_order_times_and_exposures(self, shared_data):
        docs = list(import_documents(shared_data / "txm-ssrl-nca"))
        assert_valid(docs)
        order = [(stream, energy) for stream, energy, _ in told(docs)]
        assert order == [
            *[("primary", 8324.0)] * 3,
            *[("flat", 8324.0)] * 10,
            *[("primary", 8354.0)] * 3,
            *[("flat", 8354.0)] * 10,
        ]
        events = [doc for kind, doc in docs if kind == "event"]
        assert {e["data"]["camera_exposure_time"] for e in events[:3]} == {0.5}
        assert {e["data"]["camera_exposure_time"] for e in events[3:13]} == {0.3}
        times = [event["time"] for event in events]
        assert times == sorted(times)
        assert events[13]["time"] - events[0]["time"] == pytest.approx(28 * 60, abs=60)
        assert docs[0][1]["sample"] == "ssrl-test-data"
        assert docs[0][1]["pixel_size_um"] == pytest.approx(0.0312, abs=1e-4)
        image = events[0]["data"]["camera_image"]
        assert (image.shape, image.dtype) == ((1024, 1024), np.uint16)
        assert 300 < image.mean() < 500

    def test_truncated_files_are_skipped_and_named(self, shared_data, tmp_path):
        report = import_to_recording(shared_data / "txm-ssrl-nca", tmp_path / "run.msgpack")
        assert report.images == {"primary": 6, "flat": 20}
        assert (report.files, report.energies) == (26, 2)
        assert sorted(entry.path.name[:12] for entry in report.skipped) == [
            "rep02_000072",
            "rep02_000182",
        ]
        assert all("truncated" in entry.reason for entry in report.skipped)

    def test_only_damaged_files_are_an_error(self, shared_data):
        with pytest.raises(ImportDataError, match="no usable sample image"):
            list(import_documents(shared_data / "txm-ssrl-nca" / "corrupt"))

    def test_pixels_cut_short_are_found_when_read(self, shared_data, tmp_path):
        sample = sorted((shared_data / "txm-ssrl-nca" / "sample").glob("*.xrm"))
        for path in sample[:2]:
            shutil.copy(path, tmp_path / path.name)
        cut = tmp_path / sample[1].name
        cut.chmod(0o644)
        whole = cut.read_bytes()
        cut.write_bytes(whole[: len(whole) * 97 // 100])
        report = import_to_recording(tmp_path, tmp_path / "run.msgpack")
        assert report.images == {"primary": 1}
        assert [entry.path for entry in report.skipped] == [cut]

    def test_a_file_that_is_no_xrm_is_skipped(self, shared_data, tmp_path):
        path = sorted((shared_data / "txm-ssrl-nca" / "sample").glob("*.xrm"))[0]
        shutil.copy(path, tmp_path / path.name)
        (tmp_path / "junk_08324.0_eV.xrm").write_bytes(b"not an OLE file")
        (tmp_path / "empty_08324.0_eV.xrm").write_bytes(b"")
        report = import_to_recording(tmp_path, tmp_path / "run.msgpack")
        assert report.images == {"primary": 1}
        assert len(report.skipped) == 2


def test_imported_documents_become_frames(fxi_file: Path):
    """What an importer writes is what the assembler understands."""
    state, found = assemble.init(), []
    for kind, doc in import_documents(fxi_file, exposure=0.1):
        state, out = assemble.update(state, kind, doc)
        found += [item for item in out if isinstance(item, FrameRef)]
        assert not any(isinstance(item, assemble.Notice) for item in out)
    assert [(ref.role, ref.energy, ref.exposure) for ref in found[:4]] == [
        (Role.DARK, None, 0.1),
        (Role.DARK, None, 0.1),
        (Role.SAMPLE, 8324.0, 0.1),
        (Role.FLAT, 8324.0, 0.1),
    ]
