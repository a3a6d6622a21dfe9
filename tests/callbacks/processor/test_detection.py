"""Detectors that fail, doubt themselves, are too slow or follow: what the processor makes of it."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.results import collect, ledgers, places, table

from operando.models.detector import Detections, IncrementalDetector
from operando.models.settings import DetectSettings
from operando.models.threshold.detector import ThresholdDetector
from operando.streamer.core.pipeline.pipeline import Pipeline
from operando.streamer.lab.simulate import SimSettings, Simulator, simulate_documents

SMALL = SimSettings(
    shape=(240, 240),
    n_particles=4,
    radius_px=(14, 24),
    energies=tuple(np.linspace(8360, 8400, 16)),
    jitter_px=1.5,
    drift_px=4.0,
)


class Particular(ThresholdDetector):
    """Does not trust itself, or fails, where the frame is denser than any it knows."""

    name = "particular"
    densest, most = 0.6, np.inf

    def detect(self, od, valid):
        if any(float(frame.mean()) > self.most for frame in od):
            raise RuntimeError("out of memory")
        found = super().detect(od, valid)
        strange = [float(frame.mean()) > self.densest for frame in od]
        return [
            replace(one, doubt="out_of_distribution") if doubt else one
            for one, doubt in zip(found, strange, strict=True)
        ]


class CropDetector(ThresholdDetector):
    """Follows particles by looking for regions with a threshold in windows around them."""

    name = "crops"
    followed = 0
    searched = 0

    def detect(self, od, valid):
        type(self).searched += len(od)
        return super().detect(od, valid)

    def follow(self, od, valid, expected):
        rows = []
        labels = np.zeros(od.shape[-2:], np.int32)
        for n, (yx, width) in enumerate(zip(expected.centres, expected.diameters, strict=True), 1):
            corner = np.maximum(np.round(yx - 1.8 * width - 6).astype(int), 0)
            end = np.round(yx + 1.8 * width + 7).astype(int)
            window = (..., slice(corner[0], end[0]), slice(corner[1], end[1]))
            (found,) = super().detect(od[window], valid[window])
            near = np.hypot(*(found.yx + corner - yx).T) < width / 2
            if near.sum() != 1:
                return None
            (row,) = np.flatnonzero(near)
            labels[window[1:]][found.labels == row + 1] = n
            rows.append((found, row, np.tile(corner, 2)))
        type(self).followed += 1
        whole = {
            key: np.stack([getattr(found, key)[row] for found, row, _ in rows])
            for key in ("area", "moments", "contrast", "score", "cut")
        }
        return Detections(
            labels=labels,
            yx=np.stack([found.yx[row] + at[:2] for found, row, at in rows]),
            bbox=np.stack([found.bbox[row] + at for found, row, at in rows]),
            **whole,
        )


class Ticks:
    """A clock that only detection moves on."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def groups_of(documents, count):
    return [documents[i : i + count] for i in range(0, len(documents), count)]


def process(groups, detect, timer=None):
    """Frames, particles and the ledger of a run whose documents come in groups."""
    settings = {"detect": detect, "registration": {"whole_scan": False}}
    timing = {"timer": timer} if timer else {}
    results = collect(map(copy.deepcopy, groups), settings, groups=True, **timing)
    return table(results, "frames"), table(results, "particles"), ledgers(results)[0]


def plain(rows):
    return rows.drop(columns=["latency", "aligned", "roi"], errors="ignore")


@pytest.fixture(scope="module")
def simulator():
    return Simulator(SMALL)


@pytest.fixture(scope="module")
def raw(simulator):
    return list(simulate_documents(simulator=simulator, order="flat_first"))


@pytest.fixture(scope="module")
def usual(raw):
    return process([raw], {})


def scaled(raw, frame, factor):
    documents = copy.deepcopy(raw)
    data = documents[places(documents)[frame]][1]["data"]
    data["txm_image"] = (data["txm_image"] * factor).astype(data["txm_image"].dtype)
    return documents


def test_with_the_threshold_nothing_is_degraded(usual):
    frames, _, ledger = usual
    assert set(frames["status"]) == {"aligned"}
    assert set(frames["reason"]) == {""}
    assert ledger["balanced"]


@pytest.mark.parametrize("count", [1, 200])
def test_a_frame_in_doubt_is_detected_again_by_the_classical_detector(raw, count):
    documents = scaled(raw, 5, 0.4)
    frames, particles, ledger = process(
        groups_of(documents, count), {"kind": f"{__name__}:Particular"}
    )
    worse = frames[frames["status"] == "degraded"]
    assert worse["frame"].tolist() == [5]
    assert worse["reason"].tolist() == ["detector:classical:out_of_distribution"]
    assert ledger["degraded"] == 1
    assert ledger["balanced"]
    _, same, _ = process([documents], {})
    pd.testing.assert_frame_equal(plain(particles), plain(same), check_exact=True)


def test_a_detector_that_fails_is_replaced_and_remarked_once(raw, monkeypatch, caplog):
    monkeypatch.setattr(Particular, "most", 0.6)
    documents = scaled(scaled(raw, 5, 0.4), 9, 0.4)
    frames, particles, ledger = process([documents], {"kind": f"{__name__}:Particular"})
    worse = frames[frames["status"] == "degraded"]
    assert worse["frame"].tolist() == [5, 9]
    assert set(worse["reason"]) == {"detector:classical:failed"}
    assert ledger["degraded"] == 2
    assert ledger["balanced"]
    assert particles.groupby("frame")["particle"].nunique().loc[[5, 9]].tolist() == [4, 4]
    told = [r.getMessage() for r in caplog.records if "failed on frame" in r.getMessage()]
    assert len(told) == 1


def burst(raw, monkeypatch, detect):
    """Six frames at once among others that come one by one, with a detector that takes 1 s."""
    ticks, look = Ticks(), ThresholdDetector.detect

    def slow(self, od, valid):
        ticks.now += len(od)
        return look(self, od, valid)

    monkeypatch.setattr(ThresholdDetector, "detect", slow)
    first, last = (places(raw)[n] for n in (6, 11))
    groups = [*groups_of(raw[:first], 1), raw[first : last + 1], *groups_of(raw[last + 1 :], 1)]
    return process(groups, {"deadline_s": 4.0, **detect}, ticks)


def test_particles_coast_over_a_backlog_and_keep_their_identities(raw, simulator, monkeypatch):
    frames, particles, ledger = burst(raw, monkeypatch, {})
    worse = frames[frames["status"] == "degraded"]
    assert set(worse["reason"]) == {"detector:coasting:deadline"}
    coasting = worse["frame"].tolist()
    assert coasting[:6] == [6, 7, 8, 9, 10, 11]
    assert len(coasting) < 10
    assert ledger["balanced"]
    assert ledger["degraded"] == len(coasting)
    here = particles[particles["frame"].isin(coasting)]
    assert set(here["state"]) == {"tracked"}
    assert here["area"].isna().all()
    assert particles["particle"].nunique() == 4
    for _, rows in particles.groupby("particle"):
        assert rows["frame"].tolist() == list(range(16))
        offset = rows[["y", "x"]].to_numpy()[:, None] - simulator.truth.yx
        nearest = np.abs(offset.mean(axis=0)).sum(axis=-1).argmin()
        error = offset[:, nearest] - offset[:, nearest].mean(axis=0)
        assert np.sqrt((error**2).sum(axis=-1)).max() < 0.2


def test_a_backlog_takes_the_classical_detector_first(raw, monkeypatch):
    frames, _, ledger = burst(raw, monkeypatch, {"kind": f"{__name__}:Particular"})
    worse = frames[frames["status"] == "degraded"]
    assert set(worse["reason"]) == {"detector:classical:deadline"}
    assert worse["frame"].tolist()[:6] == [6, 7, 8, 9, 10, 11]
    assert frames["status"].iloc[-1] == "aligned"
    assert ledger["degraded"] == len(worse)
    assert ledger["balanced"]


def test_without_a_backlog_a_deadline_changes_nothing(raw, usual):
    frames, particles, _ = process([raw], {"deadline_s": 1000.0})
    pd.testing.assert_frame_equal(plain(frames), plain(usual[0]), check_exact=True)
    pd.testing.assert_frame_equal(plain(particles), plain(usual[1]), check_exact=True)


CROPS = {"kind": f"{__name__}:CropDetector", "search_every": 5}


@pytest.fixture
def counted():
    CropDetector.followed = CropDetector.searched = 0
    device = torch.device("cpu")
    assert isinstance(CropDetector(DetectSettings(), device), IncrementalDetector)
    assert not isinstance(ThresholdDetector(DetectSettings(), device), IncrementalDetector)
    return CropDetector


def test_following_finds_what_searching_finds(raw, usual, counted):
    frames, particles, ledger = process(groups_of(raw, 1), CROPS)
    # frames 0 and 1 until all are confirmed, then every fifth
    assert (counted.searched, counted.followed) == (4, 12)
    assert ledger["aligned"] == len(frames) == 16
    both = particles.merge(usual[1], on=["frame", "particle"], suffixes=("", "_searched"))
    assert len(both) == len(particles) == len(usual[1])
    assert both["state"].equals(both["state_searched"])
    np.testing.assert_allclose(both[["y", "x"]], both[["y_searched", "x_searched"]], atol=0.15)


@pytest.mark.parametrize("order", ["fxi", "flat_last"])
def test_grouping_does_not_change_a_bit_of_what_is_followed(simulator, counted, order):
    documents = list(simulate_documents(simulator=simulator, order=order))
    one, other = (process(groups_of(documents, n), CROPS) for n in (1, 500))
    assert counted.followed > 10
    pd.testing.assert_frame_equal(plain(one[0]), plain(other[0]), check_exact=True)
    pd.testing.assert_frame_equal(plain(one[1]), plain(other[1]), check_exact=True)
    assert one[2] == other[2]


def test_a_particle_that_is_not_there_makes_the_whole_frame_be_searched(raw, counted, monkeypatch):
    follow, calls = CropDetector.follow, iter(range(100))

    def blind(self, od, valid, expected):
        return None if next(calls) in (5, 6) else follow(self, od, valid, expected)

    monkeypatch.setattr(CropDetector, "follow", blind)
    _, particles, ledger = process([raw], {**CROPS, "search_every": 50})
    assert (counted.searched, counted.followed) == (4, 12)
    assert ledger["aligned"] == 16
    assert particles["particle"].nunique() == 4


def test_a_detector_that_fails_to_follow_searches(raw, usual, counted, monkeypatch, caplog):
    def fail(self, od, valid, expected):
        raise RuntimeError("no such window")

    monkeypatch.setattr(CropDetector, "follow", fail)
    frames, particles, _ = process([raw], CROPS)
    assert set(frames["status"]) == {"aligned"}
    pd.testing.assert_frame_equal(plain(particles), plain(usual[1]), check_exact=True)
    told = [r.getMessage() for r in caplog.records if "could not follow" in r.getMessage()]
    assert len(told) == 1


def test_a_new_particle_is_found_at_the_next_search(counted):
    changes = {"births": 1, "n_particles": 4}
    simulator = Simulator(SMALL.model_copy(update=changes))
    documents = list(simulate_documents(simulator=simulator, order="flat_first"))
    seen = [process([documents], detect)[1] for detect in ({}, CROPS)]
    first = [p.groupby("particle")["frame"].min() for p in seen]
    late = first[1] - first[0]
    assert len(first[0]) == len(first[1])
    assert 0 <= late.max() < CROPS["search_every"]


def test_places_that_cannot_be_foreseen_are_searched(raw, usual, counted, monkeypatch, caplog):
    def fail(*_):
        raise ValueError("no such place")

    monkeypatch.setattr(Pipeline, "expected", fail)
    frames, particles, ledger = process([raw], CROPS)
    assert set(frames["status"]) == {"aligned"}
    assert ledger["balanced"]
    pd.testing.assert_frame_equal(plain(particles), plain(usual[1]), check_exact=True)
    assert len([r for r in caplog.records if "could not follow" in r.getMessage()]) == 1
