"""Images in files that become readable only later, as where a camera closes its file late."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from event_model import compose_run

from operando.callbacks import StreamProcessor
from operando.streamer.config import load_settings
from operando.streamer.core import correct
from operando.streamer.core.frames import Role
from operando.streamer.lab.simulate import SimSettings, Simulator

SETTINGS = SimSettings(
    shape=(200, 200), n_particles=3, radius_px=(14, 20), energies=tuple(range(8360, 8366))
)
DATASET = "/entry/data/data"


def write(path, images):
    with h5py.File(path, "a") as file:
        data = file.get(DATASET)
        if data is None:
            data = file.create_dataset(
                DATASET, (0, 200, 200), "u2", maxshape=(None, 200, 200), chunks=(1, 200, 200)
            )
        data.resize(len(data) + len(images), axis=0)
        data[-len(images) :] = images


def documents(folder):
    """A run of six frames in a file, its flats in-line and first."""
    simulator = Simulator(SETTINGS)
    run = compose_run(uid="1" * 36, time=1_700_000_000.0, metadata={"sample": "late"})
    energy = {"source": "sim", "dtype": "number", "shape": [], "units": "eV"}
    array = {"source": "sim", "dtype": "array", "shape": [200, 200]}
    yield "start", run.start_doc
    flat = run.compose_descriptor(name="flat", data_keys={"image": array, "energy": energy})
    yield "descriptor", flat.descriptor_doc
    for frame, value in enumerate(SETTINGS.energies):
        image = simulator.flat(frame, 1)[0]
        data = {"image": image, "energy": value}
        yield "event", flat.compose_event(data=data, timestamps=dict.fromkeys(data, 0.0))
    external = {**array, "shape": [1, 200, 200], "external": "STREAM:"}
    primary = run.compose_descriptor(
        name="primary", data_keys={"image": external, "energy": energy}
    )
    yield "descriptor", primary.descriptor_doc
    resource = run.compose_stream_resource(
        mimetype="application/x-hdf5",
        uri=f"file://localhost{folder}/frames.h5",
        data_key="image",
        parameters={"dataset": DATASET, "chunk_shape": (1, 200, 200)},
    )
    yield "stream_resource", resource.stream_resource_doc
    for frame, value in enumerate(SETTINGS.energies):
        seq = {"start": frame + 1, "stop": frame + 2}
        indices = {"start": frame, "stop": frame + 1}
        yield (
            "stream_datum",
            resource.compose_stream_datum(
                indices=indices, seq_nums=seq, descriptor=primary.descriptor_doc
            ),
        )
        yield (
            "event",
            primary.compose_event(
                data={"energy": value}, timestamps={"energy": 0.0}, time=1_700_000_000.0 + 4 * frame
            ),
        )
    yield "stop", run.compose_stop()


@pytest.fixture
def images():
    simulator = Simulator(SETTINGS)
    return np.stack([simulator.exposures(frame, 1)[0] for frame in range(6)])


def process(folder, feed):
    overrides = {"assets": {"allowed_roots": [str(folder)], "retry_for": 0.1}}
    processor = StreamProcessor(load_settings(None, overrides))
    results = []
    processor.subscribe(lambda name, doc: results.append((name, doc)))
    feed(processor)
    processor.close()
    return results


def rows(results):
    data = [d["data"] for n, d in results if n == "event" and "raw_seq_num" in d["data"]]
    return [(d["frame"], d["raw_seq_num"], d["status"]) for d in data]


def test_late_images_keep_their_number_and_their_turn(tmp_path, images):
    late, early = tmp_path / "late", tmp_path / "early"
    late.mkdir()
    early.mkdir()
    docs = list(documents(late))
    write(late / "frames.h5", images[:2])

    def feed_late(processor):
        for name, doc in docs:
            if name == "stop":
                write(late / "frames.h5", images[2:])
            processor(name, doc)

    write(early / "frames.h5", images)
    found = process(late, feed_late)
    expected = process(early, lambda p: p.process(list(documents(early))))
    assert rows(found) == [(i, i + 1, "aligned") for i in range(6)]
    assert rows(found) == rows(expected)
    positions = [
        [(d["data"]["y"], d["data"]["x"]) for n, d in r if n == "event" and "y" in d["data"]]
        for r in (found, expected)
    ]
    assert positions[0] == positions[1]
    ledger = found[-1][1]["ledger"]
    assert ledger["balanced"]
    assert ledger["notices"]


def test_images_that_never_come_are_skipped_and_counted(tmp_path, images):
    write(tmp_path / "frames.h5", images[:4])
    found = process(tmp_path, lambda p: p.process(list(documents(tmp_path))))
    assert [status for _, _, status in rows(found)] == ["aligned"] * 4 + ["skipped"] * 2
    ledger = found[-1][1]["ledger"]
    assert ledger["balanced"]
    assert sum(ledger["skipped"].values()) == 2


@pytest.mark.parametrize("faulty", [2, 4])
def test_a_fault_of_ours_on_a_late_image_costs_that_image_alone(
    tmp_path, images, faulty, monkeypatch
):
    """Neither those that wait behind it, nor the one that came when it was read at last."""
    update, docs = correct.update, list(documents(tmp_path))
    write(tmp_path / "frames.h5", images[:2])

    def fail(state, frame, settings):
        if frame.role is Role.SAMPLE and frame.key.seq_num == faulty + 1:
            raise RuntimeError("no such plan")
        return update(state, frame, settings)

    monkeypatch.setattr(correct, "update", fail)

    stops = []

    def feed(processor):
        processor.subscribe(lambda _, doc: stops.append(doc["ledger"]), "stop")
        for name, doc in docs:
            if name == "stop":
                write(tmp_path / "frames.h5", images[2:])
            processor(name, doc)
        assert len(stops) == 1  # nor is the run left open

    found = process(tmp_path, feed)
    status = ["aligned"] * 6
    status[faulty] = "skipped"
    assert rows(found) == [(i, i + 1, status[i]) for i in range(6)]
    (ledger,) = stops
    assert ledger["balanced"]
    assert ledger["skipped"] == {"internal_error": 1}


def test_a_declared_shape_that_is_wrong_is_told_once(tmp_path, images, caplog):
    write(tmp_path / "frames.h5", images)
    docs = list(documents(tmp_path))
    for name, doc in docs:
        if name == "descriptor" and doc["name"] == "primary":
            doc["data_keys"]["image"]["shape"] = [1, 100, 120]
    found = process(tmp_path, lambda p: p.process(docs))
    assert [status for _, _, status in rows(found)] == ["aligned"] * 6
    assert found[-1][1]["ledger"]["notices"]["shape"] == 1
    assert sum("100" in r.getMessage() for r in caplog.records) == 1
