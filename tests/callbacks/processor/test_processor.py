"""The callback on simulated documents: the output contract, and that nothing is lost."""

from __future__ import annotations

import copy
import itertools
import logging

import numpy as np
import pandas as pd
import pytest
from event_model import DocumentNames, schema_validators
from helpers.results import collect, places, table

from operando.callbacks import StreamProcessor
from operando.models.threshold.detector import ThresholdDetector
from operando.streamer.config import load_settings
from operando.streamer.core.register.settings import DIRECTIONS
from operando.streamer.lab.simulate import SimSettings, Simulator, simulate_documents

FRAMES_KEYS = [
    "frame", "raw_seq_num", "energy", "revision", "drift_y", "drift_x", "drift_sigma",
    "strain_yy", "strain_xx", "strain_yx", "strain_sigma", "rotation", "rotation_sigma",
    "magnification", "magnification_sigma", "gauge", "gauge_reason", "n_particles", "status",
    "reason", "latency", "ledger_received", "ledger_aligned", "ledger_degraded",
    "ledger_skipped", "ledger_dropped", "aligned", "unaligned",
]  # fmt: skip
ARRAYS = ("aligned", "unaligned", "roi", "outline")
PARTICLES_KEYS = [
    "frame", "energy", "revision", "particle", "state", "y", "x", "sigma_y", "sigma_x",
    "displacement_y", "displacement_x", "velocity_y", "velocity_x", "velocity_sigma_y",
    "velocity_sigma_x", "acceleration_y", "acceleration_x", "acceleration_sigma_y",
    "acceleration_sigma_x", "path_length", "residual_y", "residual_x", "area", "od_mean", "ssim",
    "roi", "outline",
]  # fmt: skip
SMALL = SimSettings(
    shape=(240, 240),
    n_particles=4,
    radius_px=(14, 24),
    energies=tuple(np.linspace(8360, 8400, 6)),
    jitter_px=1.5,
    drift_px=4.0,
)


def run(documents, *, grouped=False, settings=None, clock=lambda: 1_700_000_100.0):
    """Result documents of raw documents, sent one by one or all at once."""
    documents = [documents] if grouped else documents
    return collect(documents, settings, groups=grouped, clock=clock)


@pytest.fixture(scope="module")
def raw():
    return list(simulate_documents(SMALL, order="fxi"))


@pytest.fixture(scope="module")
def results(raw):
    return run(copy.deepcopy(raw))


def test_every_document_satisfies_the_schema_of_event_model(results):
    for name, doc in results:
        blank = dict.fromkeys(ARRAYS, 0)
        plain = {**doc, "data": {**doc["data"], **blank}} if name == "event" else doc
        schema_validators[DocumentNames[name]].validate(plain)
    assert next(n for n, _ in results) == "start"
    assert [n for n, _ in results][-1] == "stop"


def test_start_tells_what_made_the_result(results, raw):
    start = results[0][1]
    assert start["original_run_uid"] == raw[0][1]["uid"]
    assert start["purpose"] == "processed"
    assert start["plan_name"] == "operando"
    assert set(start["operando"]) == {
        "version", "profile", "device", "detector", "weights_sha256", "registration",
        "config_sha256", "references_sha256",
    }  # fmt: skip
    assert start["operando"]["registration"]["gauge"] == "robust-mean"
    assert start["sample"] == raw[0][1]["sample"]


def test_streams_have_the_keys_of_the_contract(results):
    for stream, keys in (("frames", FRAMES_KEYS), ("particles", PARTICLES_KEYS)):
        (descriptor,) = [d for n, d in results if n == "descriptor" and d["name"] == stream]
        assert list(descriptor["data_keys"]) == keys
        for key in descriptor["data_keys"].values():
            assert {"units", "dtype_numpy", "shape", "dtype", "source"} <= set(key)
        assert list(table(results, stream).columns) == keys
    first = table(results, "frames")["aligned"].iloc[0]
    assert first.shape == (240, 240)
    assert first.dtype == np.float32
    (descriptor,) = [d for n, d in results if n == "descriptor" and d["name"] == "particles"]
    side = descriptor["data_keys"]["roi"]["shape"]
    assert all(list(roi.shape) == side for roi in table(results, "particles")["roi"])


def test_frames_as_they_came_and_outlines_of_particles_come_along(results):
    frames, particles = table(results, "frames"), table(results, "particles")
    assert all(image.shape == (240, 240) for image in frames["unaligned"])
    assert all(image.dtype == np.float32 for image in frames["unaligned"])
    moved = frames[np.hypot(frames["drift_y"], frames["drift_x"]) > 2].iloc[0]
    known = np.isfinite(moved["aligned"]) & np.isfinite(moved["unaligned"])
    assert np.abs(moved["aligned"] - moved["unaligned"])[known].mean() > 0.01
    seen = particles[particles["area"].notna()]
    rims = np.stack(seen["outline"])
    assert rims.shape == (len(seen), DIRECTIONS)
    polygons = 0.5 * np.sin(2 * np.pi / DIRECTIONS) * (rims * np.roll(rims, 1, axis=1)).sum(axis=1)
    assert np.all(np.abs(polygons / seen["area"] - 1) < 0.1)


def test_ledger_balances_and_events_are_counted(results):
    stop = results[-1][1]
    ledger = stop["ledger"]
    assert ledger["received"] == 6 == ledger["aligned"]
    assert ledger["balanced"]
    assert ledger["flats"] == 6
    assert ledger["darks"] == 1
    for stream in ("frames", "particles"):
        assert stop["num_events"][stream] == len(table(results, stream))


def test_late_flats_give_a_provisional_and_a_final_value(results):
    frames = table(results, "frames")
    assert sorted(zip(frames["frame"], frames["revision"], strict=True)) == [
        (f, r) for f in range(6) for r in (0, 1)
    ]
    particles = table(results, "particles")
    for _, group in particles[particles["state"] == "tracked"].groupby("frame"):
        ids = [set(g["particle"]) for _, g in group.groupby("revision")]
        assert all(a == b for a, b in itertools.pairwise(ids))


def test_flats_first_are_final_at_once():
    frames = table(run(simulate_documents(SMALL, order="flat_first")), "frames")
    assert frames["revision"].tolist() == [0] * 6


def test_flats_last_revise_every_frame():
    frames = table(run(simulate_documents(SMALL, order="flat_last")), "frames")
    assert frames["revision"].tolist() == [0] * 6 + [1] * 6


def test_positions_follow_the_truth(results):
    simulator = Simulator(SMALL)
    rows = table(results, "particles")
    rows = rows[(rows["revision"] == 1) & (rows["state"] == "tracked")]
    assert rows["particle"].nunique() == 4
    truth = simulator.truth.yx
    for _, group in rows.groupby("particle"):
        seen = group[["y", "x"]].to_numpy()
        expected = truth[group["frame"].to_numpy()]  # (F, P, 2)
        offset = seen[:, None] - expected
        nearest = np.abs(offset.mean(axis=0)).sum(axis=-1).argmin()
        error = offset[:, nearest] - offset[:, nearest].mean(axis=0)
        assert np.sqrt((error**2).sum(axis=-1).mean()) < 0.06


def test_aligned_frames_stand_still(results):
    frames = table(results, "frames")
    stack = np.stack(frames[frames["revision"] == 1]["aligned"])
    raw_motion = np.ptp(frames[["drift_y", "drift_x"]].to_numpy(), axis=0).max()
    assert raw_motion > 2
    inner = stack[:, 40:-40, 40:-40]
    assert np.isfinite(inner).mean() > 0.99  # a hot pixel takes its neighbours with it
    # the energies are all above the edge: what is left after alignment is noise and chemistry
    assert np.nanmean(np.abs(inner[-1] - inner[0])) < 0.04


def strip(table_):
    return table_.drop(columns=["latency", *ARRAYS], errors="ignore")


def test_grouping_of_documents_does_not_change_a_bit(raw, results):
    together = run(copy.deepcopy(raw), grouped=True)
    for stream in ("frames", "particles"):
        one, other = table(results, stream), table(together, stream)
        pd.testing.assert_frame_equal(strip(one), strip(other), check_exact=True)
        for key in set(ARRAYS) & set(one.columns):
            for a, b in zip(one[key], other[key], strict=True):
                np.testing.assert_array_equal(a, b)


def test_a_replay_is_the_same_run(raw, results):
    again = run(copy.deepcopy(raw), clock=lambda: 1_800_000_000.0)
    assert [d.get("uid") for _, d in again] == [d.get("uid") for _, d in results]
    pd.testing.assert_frame_equal(
        strip(table(again, "particles")), strip(table(results, "particles")), check_exact=True
    )


def test_documents_are_read_only(raw):
    before = copy.deepcopy(raw)
    run(raw)
    for (_, one), (_, other) in zip(raw, before, strict=True):
        np.testing.assert_equal(one, other)


def test_identities_hold_over_runs_of_one_sample():
    settings = SMALL.model_copy(update={"scans": 2})
    simulator = Simulator(settings)
    first = list(simulate_documents(simulator=simulator, order="flat_first", scan=0))
    second = list(simulate_documents(simulator=simulator, order="flat_first", scan=1))
    results = run([*first, *second])
    starts = [d["uid"] for n, d in results if n == "start"]
    assert len(set(starts)) == 2
    owner = {d["uid"]: d["run_start"] for n, d in results if n == "descriptor"}
    ids = [set(), set()]
    for name, doc in results:
        if name == "event" and doc["data"].get("state") == "tracked":
            ids[starts.index(owner[doc["descriptor"]])].add(doc["data"]["particle"])
    assert ids[0] == ids[1]
    assert len(ids[0]) == 4


def test_an_unusable_frame_is_skipped_counted_and_shown(raw):
    broken = copy.deepcopy(raw)
    events = [d for n, d in broken if n == "event" and "txm_image" in d["data"]]
    images = [d for d in events if d["data"]["txm_image"].mean() > 500]
    victim = images[2]["data"]
    victim["txm_image"] = np.full_like(victim["txm_image"], 0)
    results = run(broken)
    ledger = results[-1][1]["ledger"]
    assert ledger["balanced"]
    assert sum(ledger["skipped"].values()) + ledger["notices"].get("flat_blank", 0) == 1
    assert ledger["received"] == 6


def test_a_run_that_never_stops_is_closed_with_its_frames(raw):
    results = run([item for item in raw if item[0] != "stop"])
    stop = results[-1][1]
    assert stop["exit_status"] == "fail"
    assert "without a stop" in stop["reason"]
    assert stop["ledger"]["received"] == 6


def test_a_run_without_images_is_declined_in_one_line(caplog):
    start = {"uid": "a" * 36, "time": 1.0}
    stop = {"uid": "b" * 36, "run_start": "a" * 36, "time": 2.0, "exit_status": "success"}
    with caplog.at_level(logging.INFO, logger="operando"):
        assert run([("start", start), ("stop", stop)]) == []
    lines = [r.getMessage() for r in caplog.records if "declined" in r.getMessage()]
    assert len(lines) == 1


def test_a_broken_subscriber_does_not_disturb_the_others(raw, caplog):
    processor = StreamProcessor()
    got = []

    def broken(name, doc):
        raise RuntimeError("I am broken")

    processor.subscribe(broken)
    token = processor.subscribe(lambda name, doc: got.append(name))
    only = []
    processor.subscribe(lambda name, doc: only.append(name), "stop")
    for name, doc in raw[:5]:
        processor(name, doc)
    processor.unsubscribe(token)
    count = len(got)
    for name, doc in raw[5:]:
        processor(name, doc)
    processor.close()
    assert count == len(got) > 0
    assert only == ["stop"]
    assert any("I am broken" in str(r.exc_info) for r in caplog.records if r.exc_info)


def test_raw_frames_spill_to_disk_and_come_back(raw, results):
    settings = load_settings(None, {"process": {"raw_memory_mb": 0.3}})
    last = run(simulate_documents(SMALL, order="flat_last"), settings=settings)
    whole = run(simulate_documents(SMALL, order="flat_last"))
    pd.testing.assert_frame_equal(
        strip(table(last, "particles")), strip(table(whole, "particles")), check_exact=True
    )


def tracked(results, revision=None):
    rows = table(results, "particles")
    rows = rows[rows["state"].isin(["tentative", "tracked"])]
    return rows if revision is None else rows[rows["revision"] == revision]


def without(documents, dropped):
    return [item for i, item in enumerate(documents) if i not in set(dropped)]


def test_sparse_flats_leave_motion_in_one_piece(raw):
    flats = places(raw, "flat")
    results = run(without(copy.deepcopy(raw), [f for i, f in enumerate(flats) if i % 3 != 2]))
    frames = table(results, "frames")
    finals = frames[frames["revision"] > 0]["frame"].tolist()
    assert finals == sorted(finals)
    for revision in (0, 1):
        for _, rows in tracked(results, revision).groupby("particle"):
            assert (rows["path_length"].diff().dropna() >= 0).all()
            assert rows["displacement_y"].diff().abs().max() < 8
    assert results[-1][1]["ledger"]["balanced"]


def test_flats_at_the_end_in_any_order_give_finals_in_frame_order():
    documents = list(simulate_documents(SMALL, order="flat_last"))
    flats = places(documents, "flat")
    reverse = dict(zip(flats, reversed([documents[f] for f in flats]), strict=True))
    results = run([reverse.get(i, item) for i, item in enumerate(documents)])
    frames = table(results, "frames")
    assert frames[frames["revision"] == 1]["frame"].tolist() == list(range(6))
    for _, rows in tracked(results, 1).groupby("particle"):
        assert rows.iloc[0][["displacement_y", "displacement_x"]].tolist() == [0, 0]


def test_a_first_frame_without_particles_in_a_known_sample(raw):
    settings = SMALL.model_copy(update={"scans": 2})
    simulator = Simulator(settings)
    first = list(simulate_documents(simulator=simulator, order="flat_first", scan=0))
    second = list(simulate_documents(simulator=simulator, order="flat_first", scan=1))
    flat = second[places(second, "flat")[0]][1]["data"]["txm_image"]
    second[places(second, "primary")[0]][1]["data"]["txm_image"] = flat
    results = run([*first, *second])
    shapes = [
        d["data_keys"]["roi"]["shape"]
        for n, d in results
        if n == "descriptor" and d["name"] == "particles"
    ]
    assert shapes[0] == shapes[1] != [0, 0]


def test_events_that_never_came_are_told(raw):
    primary = places(raw, "primary")
    results = run(without(copy.deepcopy(raw), [primary[2], primary[3], primary[5]]))
    ledger = results[-1][1]["ledger"]
    assert ledger["received"] == 6
    assert ledger["dropped"] == {"never_arrived": 3}
    assert ledger["balanced"]


def test_repeated_sequence_numbers_of_a_rewound_plan(raw):
    documents = copy.deepcopy(raw)
    primary = places(documents, "primary")
    again = copy.deepcopy(documents[primary[3]])
    again[1]["uid"] = "0" * 36
    documents.insert(primary[3] + 1, again)
    results = run(documents)
    assert results[-1][1]["ledger"]["balanced"]
    assert results[-1][1]["ledger"]["aligned"] >= 6


@pytest.mark.parametrize("time", [None, "noon", float("nan")])
def test_insane_times_of_start_and_stop(raw, time):
    documents = copy.deepcopy(raw)
    documents[0][1]["time"] = time
    documents[-1][1]["time"] = time
    results = run(documents)
    assert results[-1][0] == "stop"
    assert results[-1][1]["ledger"]["aligned"] == 6


def test_a_failing_detector_costs_one_frame(raw, monkeypatch):
    """The default detector fails on batches, and on the third frame however often it is tried."""
    detect, seen = ThresholdDetector.detect, {}

    def fail(self, od, valid):
        if len(od) > 1:
            raise RuntimeError("CUDA out of memory")
        if seen.setdefault(float(od.double().sum()), len(seen)) == 2:
            raise RuntimeError("again")
        return detect(self, od, valid)

    monkeypatch.setattr(ThresholdDetector, "detect", fail)
    ledger = run(copy.deepcopy(raw), grouped=True)[-1][1]["ledger"]
    assert ledger["balanced"]
    assert ledger["skipped"] == {"internal_error": 1} or ledger["notices"]["revision_failed"] == 1
    assert ledger["aligned"] >= 5


def test_all_frames_unusable_still_have_their_events(raw):
    documents = copy.deepcopy(raw)
    for index in places(documents, "primary"):
        image = documents[index][1]["data"]["txm_image"]
        documents[index][1]["data"]["txm_image"] = np.zeros_like(image)
    results = run(documents)
    frames = table(results, "frames")
    assert len(frames) == 6
    assert set(frames["status"]) == {"skipped"}
    assert results[-1][1]["num_events"] == {"frames": 6, "advice": 1}
    assert list(table(results, "advice")["kind"]) == ["beam"]


def test_interleaved_runs_of_one_sample_share_no_identity(raw):
    other = copy.deepcopy(raw)
    names = {d["uid"]: f"{i:036d}" for i, (n, d) in enumerate(other) if "uid" in d}
    for _, doc in other:
        for key in ("uid", "run_start", "descriptor"):
            if doc.get(key) in names:
                doc[key] = names[doc[key]]
    results = run([item for pair in zip(copy.deepcopy(raw), other, strict=True) for item in pair])
    owner = {d["uid"]: d["run_start"] for n, d in results if n == "descriptor"}
    ids = {}
    for name, doc in results:
        if name == "event" and "state" in doc["data"]:
            ids.setdefault(owner[doc["descriptor"]], set()).add(doc["data"]["particle"])
    first, second = ids.values()
    assert not first & second


def test_a_run_in_which_no_particle_is_ever_seen():
    empty = SMALL.model_copy(update={"n_particles": 0, "energies": (8360.0, 8370.0, 8380.0)})
    results = run(simulate_documents(empty, order="flat_first"))
    frames = table(results, "frames")
    assert list(frames["frame"]) == [0, 1, 2]
    assert set(frames["status"]) == {"degraded"}
    assert frames["reason"].str.contains("no_particles").all()
    assert (frames["n_particles"] == 0).all()
    assert all(image.shape == (240, 240) for image in frames["aligned"])
