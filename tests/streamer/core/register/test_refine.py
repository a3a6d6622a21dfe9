"""Places from templates: which are believed, and what of a frame is kept away from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from operando.models.rim import RimStacks
from operando.streamer.core.register.places import FitRequest, refine
from operando.streamer.core.register.templates import begin

RADIUS = 16.0
STACKS = RimStacks(torch.device("cpu"))


@pytest.fixture(scope="module")
def template(draw):
    frame = draw([(31.5, 31.5)], [RADIUS], noise=0.01, shape=(64, 64))
    return begin(frame.corrected.od, frame.detections.labels == 1)


@pytest.fixture
def sought(template):
    """Make a request for a particle, ``sought(start, label, reach=)``."""

    def request(start, label=0, reach=5.0, particle=0):
        start = np.array(start, dtype=float)
        return FitRequest(
            particle=particle, template=template, start=start, reach=reach, label=label
        )

    return request


def test_several_particles_are_found_at_once(draw, sought):
    centres = [(40.3, 50.6), (100.8, 110.1), (95.2, 42.7)]
    frame = draw(centres, [RADIUS] * 3, [0.3, 1.0, 1.6], noise=0.02)
    labels = frame.detections.labels
    requests = [sought(np.rint(yx), n + 1, particle=7 + n) for n, yx in enumerate(centres)]
    found = refine(frame.image, labels, requests, STACKS)
    assert sorted(found) == [7, 8, 9]
    for n, gain in enumerate((0.3, 1.0, 1.6)):
        one = found[7 + n]
        np.testing.assert_allclose(one.yx, centres[n], atol=0.02 + 0.04 / gain)
        assert one.gain == pytest.approx(gain, rel=0.1)
        assert np.all(one.sigma > 0)
        assert 0.01 < one.rms < 0.05
        assert one.gain_gradient < 0.15


def test_the_sigma_is_not_smaller_than_the_scatter(draw, sought):
    errors, sigmas = [], []
    for seed in range(40):
        centre = np.array([70.0, 80.0]) + np.random.default_rng(seed).uniform(-0.5, 0.5, 2)
        frame = draw([centre], [RADIUS], [0.4], noise=0.04, seed=seed)
        found = refine(frame.image, frame.detections.labels, [sought((70, 80), 1)], STACKS)[0]
        errors.append(found.yx - centre)
        sigmas.append(found.sigma)
    rms = np.sqrt(np.mean(np.square(errors)))
    assert rms < np.mean(sigmas) * 1.1
    assert np.mean(sigmas) < 2 * rms


def test_nothing_is_found_where_nothing_is(draw, sought):
    for seed in range(10):
        empty = draw([(30.0, 30.0)], [RADIUS], noise=0.04, seed=seed)
        requests = [sought((105, 120), reach=100.0), sought((110, 60), reach=100.0, particle=1)]
        assert refine(empty.image, empty.detections.labels, requests, STACKS) == {}


def test_what_lies_beyond_the_reach_is_not_believed(draw, sought):
    frame = draw([(74.0, 80.0)], [RADIUS])
    labels = frame.detections.labels
    assert refine(frame.image, labels, [sought((70, 80), 1, reach=3.0)], STACKS) == {}
    assert 0 in refine(frame.image, labels, [sought((70, 80), 1, reach=5.0)], STACKS)


@pytest.mark.parametrize(("centre", "there"), [((8.0, 80.0), True), ((-9.0, 80.0), False)])
def test_enough_of_the_rim_must_be_in_the_frame(draw, sought, centre, there):
    frame = draw([centre], [RADIUS])
    found = refine(frame.image, frame.detections.labels, [sought(centre, 1)], STACKS)
    assert (0 in found) is there
    if there:
        np.testing.assert_allclose(found[0].yx, centre, atol=0.06)


def test_the_mask_of_another_is_kept_away_from_and_ones_own_is_not(draw, sought):
    centres = [(70.3, 60.0), (70.3, 92.5)]
    frame = draw(centres, [RADIUS, 15.0], [1.0, 1.5], noise=0.01)
    labels = frame.detections.labels

    def error(labels):
        found = refine(frame.image, labels, [sought((70, 60), 1)], STACKS)
        return np.hypot(*(found[0].yx - centres[0])) if found else np.inf

    kept_away = error(labels)
    assert kept_away < 0.06
    # as if nobody had seen the other
    assert error(np.where(labels == 2, 0, labels).astype(np.int32)) > kept_away + 0.05


def test_a_particle_without_a_mask_is_sought_beside_all_masks(draw, sought):
    centres = [(70.3, 60.0), (70.3, 92.5)]
    frame = draw(centres, [RADIUS, 15.0], [1.0, 1.5], detected=[1], noise=0.01)
    found = refine(frame.image, frame.detections.labels, [sought((70, 60), 0)], STACKS)
    np.testing.assert_allclose(found[0].yx, centres[0], atol=0.06)


def test_without_requests_or_rims_nothing_is_done(draw, sought):
    frame = draw([(70.0, 80.0)], [RADIUS])
    bare = begin(np.full((64, 64), np.nan, np.float32), np.zeros((64, 64), bool))
    assert bare.rim is None
    request = FitRequest(
        particle=0, template=bare, start=np.array([70.0, 80.0]), reach=5.0, label=1
    )
    assert refine(frame.image, frame.detections.labels, [request], STACKS) == {}
    assert refine(frame.image, frame.detections.labels, [], STACKS) == {}


def test_a_mask_that_holds_the_centre_does_not_hide_the_particle(draw, sought):
    """Two that touch get one mask in some frames, and it is given to one of them."""
    places = [(60.3, 60.6), (60.0, 94.0)]
    frame = draw(places, [RADIUS] * 2, noise=0.02)
    merged = np.where(frame.detections.labels > 0, 1, 0).astype(np.int32)
    merged[50:70, 70:85] = 1
    for label in (0, 2):
        found = refine(frame.image, merged, [sought((60, 60), label)], STACKS)
        np.testing.assert_allclose(found[0].yx, places[0], atol=0.1)
