"""The books of a run: whatever happens inside, every frame is accounted for."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from helpers.results import collect, events

from operando.callbacks.processor.detection import Detection
from operando.streamer.config import load_settings
from operando.streamer.core import documents
from operando.streamer.lab.simulate import SimSettings, simulate_documents

TINY = SimSettings(
    shape=(120, 120),
    n_particles=2,
    radius_px=(12, 15),
    energies=(8370.0, 8380.0, 8390.0, 8400.0),
    chunk=3,
    jitter_px=0.5,
    drift_px=1.0,
    wander_px=0.5,
)


def processed(documents, **settings):
    """The stop document of each run."""
    results = collect([documents], load_settings("sim_txm", settings), groups=True)
    return [doc for name, doc in results if name == "stop"]


@pytest.fixture(scope="module")
def raw():
    return list(simulate_documents(TINY, order="flat_first"))


def second_exposure_nan(raw):
    documents = copy.deepcopy(raw)
    event = events(documents, "primary")[2]
    images = event["data"]["txm_image"].astype(np.float32)
    images[1] = np.nan
    event["data"]["txm_image"] = images
    return documents


def test_an_exposure_that_is_nan_is_left_out_of_the_mean_and_told(raw):
    (stop,) = processed(second_exposure_nan(raw))
    ledger = stop["ledger"]
    assert ledger["aligned"] == ledger["received"] == 4
    assert ledger["notices"] == {"nan_exposure": 1}


def test_an_exposure_that_is_nan_is_a_frame_where_they_are_kept_apart(raw):
    (stop,) = processed(second_exposure_nan(raw), assemble={"chunk": "split"})
    ledger = stop["ledger"]
    assert ledger["received"] == 12
    assert ledger["skipped"] == {"nan": 1}
    assert ledger["balanced"]


def test_a_run_without_a_stop_is_closed_while_the_service_goes_on(raw):
    later = copy.deepcopy(raw)
    for _, doc in later:
        doc["time"] += 5000.0
        for key in ("uid", "run_start", "descriptor"):
            if key in doc:
                doc[key] = "later " + doc[key]
    lost, whole = processed([*raw[:-1], *later])
    assert lost["exit_status"] == "fail"
    assert lost["ledger"]["notices"] == {"no_stop": 1}
    assert whole["exit_status"] == "success"
    for stop in (lost, whole):
        assert stop["ledger"]["balanced"]
        assert stop["ledger"]["aligned"] == 4


def test_a_result_that_cannot_be_told_is_lost_inside(raw, monkeypatch):
    emit = documents.frame_documents

    def fail(state, result, *args, **how):
        if result.frame == 1 and result.revision == 0:
            raise MemoryError("no room")
        return emit(state, result, *args, **how)

    monkeypatch.setattr(documents, "frame_documents", fail)
    (stop,) = processed(raw)
    assert stop["ledger"]["dropped"] == {"lost_inside": 1}
    assert stop["ledger"]["aligned"] == 3
    assert stop["ledger"]["balanced"]


def test_detection_that_breaks_down_costs_its_frames_and_no_more(raw, monkeypatch):
    detect, calls = Detection.detect, []

    def fail(self, state, frames, known, backlog):
        calls.append(len(frames))
        if len(calls) == 3:
            raise RuntimeError("the device is gone")
        return detect(self, state, frames, known, backlog)

    monkeypatch.setattr(Detection, "detect", fail)
    (stop,) = processed(raw)
    assert stop["ledger"]["skipped"] == {"internal_error": calls[2]}
    assert stop["ledger"]["aligned"] == 4 - calls[2]
    assert stop["ledger"]["balanced"]
