"""Frames that must not be fitted: what the processor says about them, and what comes after."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from helpers.results import collect, ledgers, places, table
from scipy.ndimage import gaussian_filter

from operando.streamer.lab.simulate import SimSettings, Simulator, simulate_documents

SMALL = SimSettings(
    shape=(260, 260),
    n_particles=4,
    radius_px=(16, 26),
    energies=tuple(np.linspace(8360, 8400, 10)),
    jitter_px=1.5,
    drift_px=4.0,
)
IMAGE = "txm_image"


def process(documents):
    results = collect(documents)
    return table(results, "frames"), table(results, "particles"), ledgers(results)[0]


@pytest.fixture(scope="module")
def raw():
    return list(simulate_documents(SMALL, order="flat_first"))


def changed(raw, frame, image):
    """Documents with another image of one frame."""
    documents = copy.deepcopy(raw)
    data = documents[places(documents)[frame]][1]["data"]
    data[IMAGE] = image(data[IMAGE])
    return documents


def blurred(images):
    return gaussian_filter(images.astype(np.float64), (0, 2.5, 2.5)).astype(np.uint16)


def test_good_frames_are_all_aligned(raw):
    frames, _, ledger = process(raw)
    assert ledger["aligned"] == len(frames) == 10


def test_a_blurred_frame_is_degraded_and_particles_coast_over_it(raw):
    frames, particles, ledger = process(changed(raw, 7, blurred))
    assert list(frames.loc[frames["status"] != "aligned", "frame"]) == [7]
    assert frames.loc[7, "reason"] == "blurred"
    assert ledger["degraded"] == 1
    assert set(particles.loc[particles["frame"] == 7, "state"]) == {"coasting"}
    _, undisturbed, _ = process(raw)
    after, before = (p[p["frame"] == 9].set_index("particle") for p in (particles, undisturbed))
    np.testing.assert_allclose(after[["y", "x"]], before[["y", "x"]], atol=0.02)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (lambda images: np.full_like(images, 100), "blank"),
        (lambda images: np.random.default_rng(0).poisson(100.0, images.shape), "blank"),
    ],
    ids=["constant", "dark"],
)
def test_a_blank_frame_is_skipped(raw, image, reason):
    frames, particles, ledger = process(changed(raw, 4, image))
    assert ledger["skipped"] == {reason: 1}
    assert ledger["balanced"]
    assert frames.loc[4, "reason"] == reason
    assert 4 not in set(particles["frame"])


def test_the_image_before_under_a_new_number_is_a_duplicate(raw):
    old = raw[places(raw)[3]][1]["data"][IMAGE]
    frames, _, ledger = process(changed(raw, 4, lambda _: old))
    assert ledger["skipped"] == {"duplicate": 1}
    assert list(frames["reason"]) == ["", "", "", "", "duplicate", *[""] * 5]


def test_a_late_frame_is_skipped_and_the_others_stand(raw):
    documents = list(raw)
    at = places(documents)
    late = documents.pop(at[3])
    documents.insert(at[5], late)
    _, particles, ledger = process(documents)
    assert ledger["skipped"] == {"out_of_order": 1}
    assert ledger["aligned"] == 9
    assert ledger["balanced"]
    assert set(particles["state"]) <= {"tentative", "tracked"}


def test_an_event_number_that_comes_again_is_a_duplicate(raw):
    documents = list(raw)
    place = places(documents)[5]
    again = {**documents[place][1], "uid": "another"}
    documents.insert(place + 1, ("event", again))
    _, _, ledger = process(documents)
    assert ledger["skipped"] == {"duplicate": 1}
    assert ledger["aligned"] == 10


def test_frames_do_not_get_blurred_by_low_counts():
    dim = SMALL.model_copy(update={"counts": 300.0, "chunk": 1})
    frames, _, _ = process(simulate_documents(simulator=Simulator(dim)))
    assert set(frames["status"]) == {"aligned"}
