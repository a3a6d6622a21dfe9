"""The simulated beamline with a real RunEngine, real devices and real sockets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgpack
import msgpack_numpy
import numpy as np
import pytest
import yaml
import zmq
from bluesky import RunEngine
from event_model import DocumentNames, schema_validators
from helpers.results import events

from operando.streamer.config import load_settings
from operando.streamer.lab.simulate import SimSettings, Truth, simulate_documents
from operando.streamer.lab.simulate.devices import make_beamline
from operando.streamer.lab.simulate.plans import operando_charging, txm_xanes

SETTINGS = SimSettings(
    seed=4,
    shape=(120, 130),
    n_particles=2,
    radius_px=(10.0, 14.0),
    n_energies=5,
    chunk=2,
    wander_px=1.0,
    scans=2,
)
STARTUP = Path(__file__).resolve().parents[2] / "profiles" / "sim_txm" / "startup"


def scan(plan):
    documents = []
    engine = RunEngine({})
    engine.subscribe(lambda name, doc: documents.append((name, doc)))
    engine(plan)
    return documents


@pytest.fixture(scope="module")
def run():
    beamline = make_beamline(SETTINGS)
    return beamline, scan(txm_xanes(beamline, md={"note": "hello"}))


def test_documents_are_valid(run):
    for name, doc in run[1]:
        schema_validators[DocumentNames[name]].validate(doc)
    assert run[1][-1][1]["num_events"] == {"dark": 1, "primary": 5, "flat": 5}
    assert run[1][-1][1]["exit_status"] == "success"


def test_start_document_tells_the_plan(run):
    start = run[1][0][1]
    assert start["plan_name"] == "txm_xanes"
    assert start["sample"] == "simulated-4"
    assert start["note"] == "hello"
    assert start["chunk_size"] == 2
    assert start["eng_list"] == pytest.approx([e / 1000 for e in SETTINGS.scan_energies])


def test_order_is_that_of_fxi(run):
    documents = run[1]
    names = {d["uid"]: d["name"] for n, d in documents if n == "descriptor"}
    order = [names[d["descriptor"]] for n, d in documents if n == "event"]
    assert order == ["dark", *["primary", "flat"] * 5]


def test_images_are_those_of_the_simulator(run):
    beamline, documents = run
    simulator = beamline.sample.simulator
    for frame, event in enumerate(events(documents, "primary")):
        image = event["data"]["txm_image"]
        assert image.dtype == np.uint16
        np.testing.assert_array_equal(image, simulator.exposures(frame, 2))
        assert event["data"]["XEng"] == pytest.approx(simulator.energies[frame] / 1000)
    flat = events(documents, "flat")[2]["data"]["txm_image"]
    assert np.median(flat) > np.median(simulator.exposures(2, 2))
    dark = events(documents, "dark")[0]["data"]["txm_image"]
    assert np.median(dark) == pytest.approx(100, abs=2)


def test_documents_have_the_keys_of_simulated_runs_without_an_engine(run):
    plain = next(d for n, d in simulate_documents(SETTINGS) if n == "descriptor")
    real = next(d for n, d in run[1] if n == "descriptor")
    for key, expected in plain["data_keys"].items():
        for field in ("dtype", "shape", "units"):
            assert real["data_keys"][key][field] == expected[field]
    assert plain["configuration"]["txm"]["data"] == {"txm_acquire_time": 0.5}
    assert real["configuration"]["txm"]["data"]["txm_acquire_time"] == 0.5


def test_truth_is_kept_aside(run):
    beamline, documents = run
    np.testing.assert_array_equal(
        beamline.sample.truth().yx, beamline.sample.simulator.truth.yx[:5]
    )
    assert "truth" not in str([d for _, d in documents])


def test_truth_follows_the_stage():
    beamline = make_beamline(SETTINGS)
    beamline.stage.y.set(10 * SETTINGS.pixel_size).wait()
    scan(txm_xanes(beamline, energies=[8400.0, 8500.0]))
    truth = beamline.sample.truth()
    still = beamline.sample.simulator.truth_of([0, 1], [8400.0, 8500.0], np.zeros((2, 2)))
    np.testing.assert_allclose(truth.stage, [[10, 0], [10, 0]])
    np.testing.assert_allclose(truth.yx - still.yx, np.broadcast_to([10.0, 0], truth.yx.shape))


def test_charging_loop_scans_one_ageing_sample():
    beamline = make_beamline(SETTINGS)
    documents = scan(operando_charging(beamline, 2))
    starts = [d for n, d in documents if n == "start"]
    assert [s["operando_scan"] for s in starts] == [0, 1]
    assert len({s["sample"] for s in starts}) == 1
    truth = beamline.sample.truth()
    assert truth.frame.tolist() == list(range(10))
    assert (truth.fraction[5:].mean(axis=0) > truth.fraction[:5].mean(axis=0)).all()


def test_sample_rests_when_its_series_is_over():
    beamline = make_beamline(SETTINGS)
    scan(operando_charging(beamline, 3))
    assert beamline.sample.truth().frame.tolist() == [*range(10), *[9] * 5]


def test_exposures_that_differ_are_in_the_descriptors():
    beamline = make_beamline(SETTINGS.model_copy(update={"flat_exposure": 0.25}))
    documents = scan(txm_xanes(beamline, energies=[8400.0, 8410.0]))
    for stream, seconds in (("primary", 0.5), ("flat", 0.25)):
        uids = {e["descriptor"] for e in events(documents, stream)}
        told = [
            d["configuration"]["txm"]["data"]["txm_acquire_time"]
            for n, d in documents
            if n == "descriptor" and d["uid"] in uids
        ]
        assert set(told) == {seconds}


def test_an_aborted_scan_closes_the_shutter_and_brings_the_sample_back():
    beamline = make_beamline(SETTINGS)
    engine = RunEngine({})
    seen = []

    def stumble(name, doc):
        seen.append(name)
        if seen.count("event") == 3:
            raise RuntimeError("stop here")

    engine.subscribe(stumble)
    with pytest.raises(RuntimeError, match="stop here"):
        engine(txm_xanes(beamline))
    assert beamline.shutter.get() == "closed"
    assert beamline.stage.yx == (0.0, 0.0)


def test_startup_files_make_a_beamline_that_publishes(monkeypatch):
    context = zmq.Context()
    receiver = context.socket(zmq.SUB)
    receiver.setsockopt(zmq.SUBSCRIBE, b"")
    port = receiver.bind_to_random_port("tcp://127.0.0.1")
    monkeypatch.setenv("OPERANDO_PROXY", f"127.0.0.1:{port}")
    monkeypatch.setenv("OPERANDO_SIM_PRESET", "calm")
    session = {"__name__": "__main__"}
    try:
        for file in sorted(STARTUP.glob("*.py")):
            source = file.read_text()
            assert len(source.splitlines()) <= 60
            exec(compile(source, file.name, "exec"), session)
        sent = _after_handshake(session, receiver)
        session["RE"](session["xanes"](energies=[8400.0]))
        received = [sent, *_until_stop(receiver)]
    finally:
        session["publisher"].close()
        receiver.close()
        context.term()
    assert [n for n, _ in received if n != "probe"] == [
        "start",
        *["descriptor", "event"] * 3,
        "stop",
    ]
    start = next(d for n, d in received if n == "start")
    assert start["beamline_id"] == "sim_txm"
    event = next(d for n, d in received if n == "event")
    assert event["data"]["txm_image"].shape == (3, 460, 460)


def _after_handshake(session, receiver):
    """Publish until the subscription has arrived: PUB sockets drop what nobody wants yet."""
    for _ in range(100):
        session["publisher"]("probe", {})
        if receiver.poll(50):
            while receiver.poll(50):
                receiver.recv()
            return "probe", {}
    raise AssertionError("the publisher never reached the receiver")


def _until_stop(receiver):
    name = ""
    while name != "stop":
        assert receiver.poll(20_000), f"nothing came after {name!r}"
        _, raw_name, payload = receiver.recv().split(b" ", 2)
        name = raw_name.decode()
        yield name, msgpack.unpackb(payload, object_hook=msgpack_numpy.decode)


@pytest.mark.system
def test_beamline_process_publishes_and_saves_the_truth(tmp_path):
    context = zmq.Context()
    receiver = context.socket(zmq.SUB)
    receiver.setsockopt(zmq.SUBSCRIBE, b"")
    port = receiver.bind_to_random_port("tcp://127.0.0.1")
    command = [sys.executable, "-m", "operando.streamer.lab.simulate.process"]
    command += ["--proxy", f"127.0.0.1:{port}", "--energies", "3", "--chunk", "1", "--seed", "7"]
    command += ["--truth", str(tmp_path / "truth.npz"), "--rate", "20"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        received = list(_until_stop(receiver))
        _, log = process.communicate(timeout=30)
    finally:
        process.kill()
        receiver.close()
        context.term()
    assert process.returncode == 0, log.decode()
    assert received[0][0] == "start"
    assert received[-1][1]["num_events"] == {"dark": 1, "primary": 3, "flat": 3}
    truth = Truth.load(tmp_path / "truth.npz")
    assert truth.yx.shape == (3, 9, 2)
    assert truth.energies.tolist() == pytest.approx([1000 * e for e in received[0][1]["eng_list"]])


def test_settings_of_the_profile_are_usable():
    settings = load_settings("sim_txm")
    assert settings.profile == "sim_txm"
    assert settings.assemble.energy_key == "XEng"
    config = yaml.safe_load((STARTUP.parent / "tiled.yml").read_text())
    assert config["uvicorn"]["ws_per_message_deflate"] is False
