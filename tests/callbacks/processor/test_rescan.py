"""The second look at a run that is over, from raw documents to revised results."""

from __future__ import annotations

import itertools
import logging

import numpy as np
import pandas as pd
import pytest
from helpers.results import places
from scipy.ndimage import gaussian_filter

from operando.callbacks import StreamProcessor
from operando.callbacks.processor.revision import Rescan
from operando.streamer.config import load_settings
from operando.streamer.lab.evaluate.accuracy import score
from operando.streamer.lab.simulate import SimSettings, Simulator, simulate_documents
from operando.streamer.lab.simulate.spectra import ni_edge_energies

SCAN = SimSettings(
    shape=(300, 300), n_particles=4, radius_px=(18, 30), energies=ni_edge_energies(24), counts=9000
)
SHORT = SCAN.model_copy(
    update={"shape": (200, 200), "n_particles": 3, "energies": tuple(np.linspace(8360, 8400, 8))}
)
LOOK = {"registration": {"whole_scan_frames": 8}}


def process(documents, settings=None):
    """Rows of both streams, and the stop document."""
    names, rows, stops = {}, {"frames": [], "particles": []}, []

    def keep(name, doc):
        if name == "descriptor":
            names[doc["uid"]] = doc["name"]
        elif name == "event":
            data = {**doc["data"], "run": (len(stops), doc["data"]["revision"])}
            rows.setdefault(names[doc["descriptor"]], []).append(data)
        elif name == "stop":
            stops.append(doc)

    processor = StreamProcessor(load_settings(None, settings or {}))
    processor.subscribe(keep)
    for name, doc in documents:
        processor(name, doc)
    processor.close()
    return pd.DataFrame(rows["frames"]), pd.DataFrame(rows["particles"]), stops


@pytest.fixture(scope="module")
def simulator():
    return Simulator(SCAN)


@pytest.fixture(scope="module")
def scan(simulator):
    """A scan over an edge, its flats before its frames: all values are final at once."""
    return process(simulate_documents(simulator=simulator, order="flat_first"))


@pytest.fixture(scope="module")
def short():
    return list(simulate_documents(SHORT, order="flat_first"))


@pytest.fixture(scope="module")
def looked(short):
    """A short run that is looked at again all the same."""
    return process(short, LOOK)


def by_revision(table, revision):
    return table[table["revision"] == revision].reset_index(drop=True)


def test_places_are_better_the_second_time(scan, simulator):
    _, particles, _ = scan
    first = score(particles, simulator.truth, revision="first")
    last = score(particles, simulator.truth)
    assert last.overall.rms < 0.95 * first.overall.rms
    assert last.step < first.step
    assert last.overall.rms < 0.2
    assert last.recall == first.recall == 1.0
    assert last.switches == 0


def test_every_frame_is_revised_once_and_the_books_balance(scan):
    frames, _, (stop,) = scan
    assert list(zip(frames["revision"], frames["frame"], strict=True)) == [
        *((0, n) for n in range(24)),
        *((1, n) for n in range(24)),
    ]
    ledger = stop["ledger"]
    assert ledger["balanced"]
    assert ledger["received"] == ledger["aligned"] == ledger["revised"] == 24
    assert ledger["notices"] == {}


def test_pictures_and_places_are_revised_together(scan):
    frames, particles, _ = scan
    old, new = by_revision(frames, 0), by_revision(frames, 1)
    changed = [
        not np.array_equal(a, b, equal_nan=True)
        for a, b in zip(old["aligned"], new["aligned"], strict=True)
    ]
    assert sum(changed) > 20
    kept = ["frame", "energy", "raw_seq_num", "status", "reason", "n_particles"]
    pd.testing.assert_frame_equal(old[kept], new[kept])
    keys = ["frame", "particle"]
    both = by_revision(particles, 0).merge(by_revision(particles, 1), on=keys, suffixes=("", "_2"))
    assert len(both) == len(by_revision(particles, 0))
    moved = np.hypot(both["y_2"] - both["y"], both["x_2"] - both["x"])
    assert moved.median() > 0.01
    for _, row in both[moved > 0.05].iterrows():
        assert not np.array_equal(row["roi"], row["roi_2"], equal_nan=True)
    # displacement goes on from the revised places
    mine = by_revision(particles, 1).query("particle == 0").sort_values("frame")
    steps = mine["displacement_y"] - (mine["y"] - mine["y"].iloc[0])
    np.testing.assert_allclose(steps, steps.iloc[0], atol=1e-9)


def test_revised_pictures_lie_better_on_each_other(scan):
    frames, _, _ = scan

    def likeness(revision):
        aligned = by_revision(frames, revision)["aligned"].iloc[-6:]
        errors = [np.nanstd(b - a) for a, b in itertools.pairwise(aligned)]
        return np.mean(errors)

    assert likeness(1) < 1.02 * likeness(0)


def test_provisional_final_and_revised_values_count_up():
    documents = simulate_documents(SHORT, order="flat_last")
    frames, particles, (stop,) = process(documents, LOOK)
    assert frames.groupby("frame")["revision"].apply(list).tolist() == [[0, 1, 2]] * 8
    assert stop["ledger"]["revised"] == 16
    assert stop["ledger"]["balanced"]
    assert set(particles["revision"]) == {0, 1, 2}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"registration": {"whole_scan_frames": 8, "whole_scan": False}},
        {"registration": {"whole_scan_frames": 8, "whole_scan_most": 7}},
    ],
    ids=["short", "switched off", "long"],
)
def test_runs_that_are_not_looked_at_again_emit_nothing_more(short, looked, settings):
    frames, particles, (stop,) = process(short, settings)
    assert frames["revision"].tolist() == [0] * 8
    assert stop["ledger"]["revised"] == 0
    # and what was told live is what a run with a second look tells live
    live = by_revision(looked[1], 0)
    np.testing.assert_array_equal(particles[["y", "x"]], live[["y", "x"]])


def test_late_final_values_do_not_bring_a_run_back_that_was_too_long(monkeypatch):
    kept = []

    class Watched(Rescan):
        def keep(self, corrected, record):
            super().keep(corrected, record)
            kept.append((corrected.revision, corrected.frame, len(self._store)))

    monkeypatch.setattr("operando.callbacks.processor.analysis.Rescan", Watched)
    settings = {"registration": {"whole_scan_frames": 3, "whole_scan_most": 6}}
    frames, _, _ = process(simulate_documents(SHORT, order="flat_last"), settings)
    assert frames["revision"].max() == 1
    assert kept[:6] == [(0, n, n + 1) for n in range(6)]
    assert kept[6:] == [(0, 6, 0), (0, 7, 0), *((1, n, 0) for n in range(8))]


def test_frames_that_were_given_up_for_want_of_room_keep_their_values(short):
    room = {"raw_memory_mb": 0.5, "raw_disk_gb": 4e-4}  # 160 kB a frame
    frames, _, (stop,) = process(short, {**LOOK, "process": room})
    revised = frames.groupby("frame")["revision"].max()
    assert revised.iloc[-1] == 1
    assert revised.iloc[0] == 0
    assert revised.is_monotonic_increasing
    assert stop["ledger"]["revised"] == revised.sum()
    assert stop["ledger"]["balanced"]


def test_a_fault_of_the_second_look_leaves_the_values_and_closes_the_run(
    short, looked, monkeypatch, caplog
):
    def broken(*_args):
        raise FloatingPointError("a template burst")

    monkeypatch.setattr("operando.callbacks.processor.revision.reregister_scan", broken)
    with caplog.at_level(logging.WARNING):
        frames, _, (stop,) = process(short, LOOK)
    assert frames["revision"].tolist() == [0] * 8
    assert stop["exit_status"] == "success"
    assert stop["ledger"]["notices"] == {"whole_scan_failed": 1}
    assert stop["ledger"]["balanced"]
    assert "a template burst" in caplog.text
    assert looked[2][0]["ledger"]["notices"] == {}


def test_a_blurred_frame_stays_what_it_was(short):
    documents = list(short)
    at = places(documents)[6]
    event = documents[at][1]
    pixels = event["data"]["txm_image"].astype(np.float64)
    smooth = gaussian_filter(pixels, (0, 3, 3)).astype(np.uint16)
    documents[at] = "event", {**event, "data": {**event["data"], "txm_image": smooth}}
    frames, particles, (stop,) = process(documents, LOOK)
    assert stop["ledger"]["degraded"] == 1
    told = frames[frames["frame"] == 6].set_index("revision")
    assert told.loc[0, "reason"] == "blurred"
    assert told.loc[1, "reason"] == "blurred"
    assert told.loc[1, "status"] == "degraded"
    assert set(particles.loc[particles["frame"] == 6, "state"]) == {"coasting"}


def test_a_further_run_of_the_sample_goes_on_from_the_revised_motion():
    both = Simulator(SHORT.model_copy(update={"scans": 2}))
    scans = [simulate_documents(simulator=both, order="flat_first", scan=n) for n in (0, 1)]
    frames, particles, stops = process(itertools.chain(*scans), LOOK)
    assert [stop["ledger"]["revised"] for stop in stops] == [8, 8]
    assert len(frames) == 32
    # where each particle began is as the second look at the first run had it
    live, revised, again = (particles[particles["run"] == k] for k in ((0, 0), (0, 1), (1, 1)))
    origin = [
        (t["y"] - t["displacement_y"]).groupby(t["particle"]).last() for t in (live, revised, again)
    ]
    assert len(origin[2]) == 3
    # but for what masks say of the centre of mass in either run
    np.testing.assert_allclose(origin[2], origin[1], atol=0.2)
    assert np.abs(origin[1] - origin[0]).max() > 1e-3
