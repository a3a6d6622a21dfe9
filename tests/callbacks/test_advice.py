"""Advice as documents of the processor, and as a stream in Tiled."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
from event_model import DocumentNames, schema_validators
from helpers.results import events, places

from operando.callbacks import StreamProcessor
from operando.callbacks.tiled.sink import TiledSink
from operando.streamer.config import load_settings
from operando.streamer.core.advice import ADVICE_KEYS
from operando.streamer.core.streams import rows_of
from operando.streamer.io.checkpoint import Blobs, decode, encode
from operando.streamer.io.checkpoint.files import pack_tree, unpack_tree
from operando.streamer.lab.simulate import SimSettings, Simulator, simulate_documents

FRAMES = 30
SETTINGS = SimSettings(
    seed=3,
    shape=(170, 170),
    n_particles=5,
    radius_px=(11, 14),
    energies=tuple(np.linspace(8360, 8400, FRAMES)),
    chunk=1,
    wander_px=1.0,
    jitter_px=0.3,
    drift_px=0.5,
    background=0.02,
)
# the field creeps away by 2.4 px a frame
TRACE = np.arange(FRAMES)[:, None] * np.array([1.4, 2.0])


class Leaving(Simulator):
    """A microscope whose stage creeps, out of whose field particles leave."""

    def exposures(self, frame, n=None, *, energy=None, stage_yx=(0.0, 0.0)):
        return super().exposures(frame, n, energy=energy, stage_yx=TRACE[frame])


def process(documents, cut=None, folder=None):
    results = []

    def make():
        processor = StreamProcessor(
            load_settings(None, {"link": {"coast_frames": 4}}), clock=lambda: 1_700_000_100.0
        )
        processor.subscribe(lambda name, doc: results.append((name, doc)))
        return processor

    processor = make()
    for number, (name, doc) in enumerate(documents):
        if number == cut:
            blobs = Blobs(folder)
            blobs.begin()
            data = pack_tree(encode(processor.snapshot(blobs), blobs))
            blobs.keep_only(blobs.end())
            processor.suspend()
            processor = make()
            processor.restore(decode(unpack_tree(data), "cpu", blobs), blobs)
        processor(name, doc)
    processor.close()
    return results


def table(results, stream="advice"):
    return pd.DataFrame(rows_of(results).get(stream))


@pytest.fixture(scope="module")
def raw():
    return list(simulate_documents(simulator=Leaving(SETTINGS), order="flat_first"))


@pytest.fixture(scope="module")
def results(raw):
    return process(copy.deepcopy(raw))


@pytest.fixture
def short(raw):
    """The run, broken off after 14 frames."""
    late = places(raw)[14:]
    return [item for i, item in enumerate(copy.deepcopy(raw)) if i not in late]


def test_particles_are_told_to_be_leaving_before_they_are_lost(results):
    advice = table(results)
    lost = advice[advice["kind"] == "lost"]
    assert len(lost) >= 1
    for row in lost.itertuples():
        before = advice[(advice["kind"] == "leaving") & (advice["particle"] == row.particle)]
        assert before["data_time"].min() < row.data_time
    leaving = advice[(advice["kind"] == "leaving") & advice["active"]]
    # frames are 4.2 s apart
    assert leaving["velocity_y"].median() == pytest.approx(1.4 / 4.2, abs=0.05)
    assert leaving["velocity_x"].median() == pytest.approx(2.0 / 4.2, abs=0.05)
    assert (leaving["time_left"] <= 60).all()


def test_the_recommended_move_is_the_way_back(results):
    advice = table(results)
    moves = advice[advice["kind"] == "recenter"]
    assert len(moves) > 3
    for row in moves.itertuples():
        np.testing.assert_allclose((row.move_y, row.move_x), -TRACE[row.frame], atol=2.0)
    assert not moves["acted"].any()
    assert (moves["sigma"] < 1).all()


def test_advice_satisfies_the_schema_and_the_contract(results):
    (descriptor,) = [d for n, d in results if n == "descriptor" and d["name"] == "advice"]
    schema_validators[DocumentNames.descriptor].validate(descriptor)
    assert list(descriptor["data_keys"]) == list(ADVICE_KEYS)
    for key in descriptor["data_keys"].values():
        assert {"units", "dtype_numpy", "shape", "dtype", "source"} <= set(key)
    events = [d for n, d in results if n == "event" and d["descriptor"] == descriptor["uid"]]
    for event in events:
        schema_validators[DocumentNames.event].validate(event)
    assert [e["seq_num"] for e in events] == list(range(1, len(events) + 1))
    assert results[-1][1]["num_events"]["advice"] == len(events)
    assert set(table(results)["severity"]) <= {"info", "warning", "alarm"}


def test_advice_comes_after_the_frame_that_it_is_about(results):
    seen = set()
    for name, doc in results:
        if name != "event":
            continue
        if "latency" in doc["data"]:
            seen.add(doc["data"]["frame"])
        elif "severity" in doc["data"]:
            assert doc["data"]["frame"] in seen


def test_a_restored_processor_gives_the_same_advice(raw, results, tmp_path):
    pieces = process(copy.deepcopy(raw), cut=len(raw) // 2 + 12, folder=tmp_path)
    pd.testing.assert_frame_equal(table(pieces), table(results))


def test_frames_without_light_are_an_alarm(short):
    documents = short
    for event in events(documents, "primary")[5:8]:
        event["data"]["txm_image"] = np.full_like(event["data"]["txm_image"], 100)
    beam = table(process(documents))
    beam = beam[beam["kind"] == "beam"]
    assert list(beam["severity"]) == ["alarm", "info"]
    assert list(beam["frame"]) == [5, 10]


def recenter_events(raw, frame, move, acted=1):
    """The documents of a run, with one of the feedback loop before a frame."""
    start = raw[0][1]
    at = places(raw)[frame]
    time = raw[at][1]["time"] - 1.0
    data = {"move_y": move[0], "move_x": move[1], "sigma": 0.1, "acted": acted, "reason": ""}
    data = {f"recenter_{key}": value for key, value in data.items()}
    keys = {
        key: {"source": "SIM", "shape": [], "dtype": "string" if type(v) is str else "number"}
        for key, v in data.items()
    }
    descriptor = {
        "uid": "recenter-descriptor", "run_start": start["uid"], "name": "recenter", "time": time,
        "data_keys": keys, "configuration": {}, "hints": {}, "object_keys": {},
    }  # fmt: skip
    event = {
        "uid": "recenter-event", "descriptor": descriptor["uid"], "seq_num": 1, "time": time,
        "data": data, "timestamps": dict.fromkeys(data, time), "filled": {},
    }  # fmt: skip
    return [*raw[:at], ("descriptor", descriptor), ("event", event), *raw[at:]]


def test_moves_that_the_loop_made_are_told_as_acted(short):
    advice = table(process(recenter_events(short, 12, (3.0, -4.0))))
    (acted,) = advice[advice["acted"]].itertuples()
    assert (acted.kind, acted.frame, acted.move_y, acted.move_x) == ("recenter", 12, 3.0, -4.0)
    assert acted.sigma == 0.1


def test_a_move_that_is_told_twice_counts_once(short):
    documents = recenter_events(short, 12, (3.0, -4.0))
    (at,) = [i for i, (_, d) in enumerate(documents) if d.get("uid") == "recenter-event"]
    again = ("event", {**documents[at][1], "uid": "another publisher"})
    advice = table(process([*documents[: at + 1], again, *documents[at + 1 :]]))
    assert advice["acted"].sum() == 1


@pytest.mark.parametrize(
    "broken",
    [
        {"data": None}, {"data": {"recenter_acted": 1}}, {"time": "noon"},
        {"data": {"recenter_acted": [1, 2], "recenter_move_y": 1.0, "recenter_move_x": 1.0}},
        {"data": {"recenter_acted": 1, "recenter_move_y": "far", "recenter_move_x": None}},
    ],
)  # fmt: skip
def test_moves_that_make_no_sense_cost_no_frame(short, broken):
    documents = recenter_events(short, 12, (3.0, -4.0))
    (at,) = [i for i, (_, d) in enumerate(documents) if d.get("uid") == "recenter-event"]
    documents[at] = ("event", {**documents[at][1], **broken})
    results = process(documents)
    assert results[-1][1]["ledger"]["balanced"]
    assert results[-1][1]["ledger"]["aligned"] == 14


def test_moves_that_were_refused_are_not(short):
    advice = table(process(recenter_events(short, 12, (3.0, -4.0), acted=0)))
    assert not advice["acted"].any()


@pytest.mark.system
def test_advice_is_a_table_in_tiled(results, tiled_server):
    sink = TiledSink(tiled_server.uri)
    for name, doc in results:
        sink(name, doc)
    assert sink.flush(60)
    sink.close()
    from tiled.client import from_uri

    client = from_uri(tiled_server.uri)
    try:
        held = client[results[0][1]["uid"]]["advice"].read()
    finally:
        client.context.close()
    told = table(results)
    assert len(held) == len(told)
    for key in ("kind", "severity", "message"):
        assert list(held[key]) == list(told[key])
    for key in ("particle", "frame"):
        np.testing.assert_array_equal(held[key], told[key])
    for key in ("move_y", "sigma", "valid_s", "time_left", "data_time"):
        np.testing.assert_allclose(held[key], told[key])
    for key in ("acted", "active"):
        assert held[key].dtype == bool
        np.testing.assert_array_equal(held[key], told[key])
