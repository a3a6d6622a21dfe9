"""A processor that goes on from a checkpoint tells what an undisturbed one does, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from operando.callbacks import StreamProcessor
from operando.streamer.config import load_settings
from operando.streamer.io.checkpoint import Blobs, decode, encode
from operando.streamer.io.checkpoint.files import pack_tree, unpack_tree
from operando.streamer.lab.simulate import SimSettings, Simulator, simulate_documents

SCAN = SimSettings(
    shape=(200, 200),
    n_particles=3,
    radius_px=(16, 24),
    energies=tuple(np.linspace(8320, 8380, 8)),
    jitter_px=1.5,
)
SETTINGS = {"registration": {"whole_scan_frames": 4}}


def through(processor, blobs):
    """The state of a processor as it comes back from the disk."""
    blobs.begin()
    data = pack_tree(encode(processor.snapshot(blobs), blobs))
    blobs.keep_only(blobs.end())
    return decode(unpack_tree(data), "cpu", blobs)


def process(documents, folder=None, cuts=(), xanes=None, **process):
    """Result documents by seq_num; at each of `cuts` another processor takes over."""
    settings = load_settings(None, {**SETTINGS, "process": process, "xanes": xanes or {}})
    told, openings = {}, []

    def keep(name, doc):
        if name == "event":
            seen = told.setdefault((doc["descriptor"], doc["seq_num"]), doc["data"])
            same(seen, doc["data"])
        elif name == "stop":
            told["stop", doc["run_start"]] = {k: v for k, v in doc.items() if k != "time"}
        else:
            openings.append((name, doc["uid"]))

    processor = StreamProcessor(settings)
    processor.subscribe(keep)
    blobs = Blobs(folder) if folder is not None else None
    for number, (name, doc) in enumerate(documents):
        if number in cuts:
            state = through(processor, blobs)
            processor.suspend()
            processor = StreamProcessor(settings)
            processor.subscribe(keep)
            processor.restore(state, blobs)
        processor(name, doc)
    processor.close()
    return told, openings


def same(one, other):
    """Equal in every bit, but for the latency."""
    assert one.keys() == other.keys()
    for key in one.keys() - {"latency"}:
        np.testing.assert_array_equal(one[key], other[key], err_msg=key)


@pytest.fixture(scope="module")
def simulator():
    return Simulator(SCAN)


@pytest.mark.parametrize("order", ["fxi", "flat_first", "flat_last"])
def test_a_restored_processor_goes_on_as_if_nothing_had_happened(simulator, order, tmp_path):
    documents = list(simulate_documents(simulator=simulator, order=order))
    whole, openings = process(documents)
    cuts = range(1, len(documents), 3)
    pieces, again = process(documents, tmp_path, cuts)
    assert pieces.keys() == whole.keys()
    for key, data in whole.items():
        if key[0] == "stop":
            assert pieces[key] == data
        else:
            same(data, pieces[key])
    assert set(again) == set(openings)
    assert len(again) > len(openings)


def test_spectra_and_maps_go_on_as_if_nothing_had_happened(tmp_path):
    scan = SCAN.model_copy(update={"energies": None, "n_energies": 24})
    documents = list(simulate_documents(scan, order="fxi"))
    chemistry = {**load_settings("sim_txm").xanes.model_dump(), "every": 8}
    whole, _ = process(documents, xanes=chemistry)
    maps = [data for key, data in whole.items() if "fraction_sigma" in data and "final" in data]
    assert len([m for m in maps if not m["final"]]) >= 3
    assert all(np.isfinite(m["fraction"]).any() for m in maps if m["final"])
    pieces, _ = process(documents, tmp_path, range(9, len(documents), 7), xanes=chemistry)
    assert pieces.keys() == whole.keys()
    for key, data in whole.items():
        if key[0] != "stop":
            same(data, pieces[key])


def test_images_that_have_spilled_to_disk_are_in_a_checkpoint_too(simulator, tmp_path):
    documents = list(simulate_documents(simulator=simulator, order="flat_last"))
    whole, _ = process(documents)
    pieces, _ = process(documents, tmp_path, range(2, len(documents), 3), raw_memory_mb=0.4)
    assert pieces.keys() == whole.keys()
    for key, data in whole.items():
        if key[0] != "stop":
            same(data, pieces[key])


def test_identities_of_a_sample_live_on(tmp_path):
    simulator = Simulator(SCAN.model_copy(update={"scans": 2}))
    first = list(simulate_documents(simulator=simulator, order="flat_first"))
    second = list(simulate_documents(simulator=simulator, order="flat_first", scan=1))
    documents = [*first, *second]
    whole, _ = process(documents)
    pieces, _ = process(documents, tmp_path, (len(first),))
    for key, data in whole.items():
        if key[0] != "stop":
            same(data, pieces[key])


def test_large_arrays_are_written_once(simulator, tmp_path):
    documents = list(simulate_documents(simulator=simulator, order="flat_first"))
    processor = StreamProcessor(load_settings(None, SETTINGS))
    blobs = Blobs(tmp_path)
    sizes = []
    for name, doc in documents[:-1]:
        processor(name, doc)
    for _ in range(2):
        blobs.begin()
        sizes.append(len(pack_tree(encode(processor.snapshot(blobs), blobs))))
        names = blobs.end()
        sizes.append(names)
    assert sizes[0] == sizes[2]
    assert sizes[1] == sizes[3]
    assert len(sizes[1]) > 10
    processor.close()
