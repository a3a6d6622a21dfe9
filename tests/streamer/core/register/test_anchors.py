"""Templates: at which contrasts they begin, what they become, when they stay as they are."""

from __future__ import annotations

import numpy as np
import pytest

from operando.streamer.core.register.templates import add, band_px, begin, learn, window_side

RADIUS = 14.0


@pytest.fixture
def roi(draw):
    """Make an ROI of one body at its centre, ``roi(gain, seed)``."""

    def make(gain=1.0, seed=0, noise=0.05):
        frame = draw([(29.5, 29.5)], [RADIUS], [gain], noise=noise, seed=seed, shape=(60, 60))
        return frame.corrected.od, frame.detections.labels == 1

    return make


@pytest.fixture
def known(roi):
    return add(None, begin(*roi()))


def test_the_first_template_has_contrast_one_and_a_rim(known):
    (template,) = known.templates
    assert (template.contrast, template.frames) == (1.0, 1)
    assert template.rim is not None
    assert template.rim.radius == pytest.approx(RADIUS, rel=0.05)
    assert np.isnan(template.response).all()
    assert known.current is known.best is template


@pytest.mark.parametrize(
    ("contrast", "side"), [(1.29, 60), (1.31, None), (1 / 1.29, 60), (1 / 1.31, None)]
)
def test_a_template_begins_where_the_contrast_has_changed_by_a_third(known, contrast, side):
    assert known.side(contrast) == side


def test_there_are_not_more_than_a_dozen(known, roi):
    for n in range(1, 12):
        assert known.side(2.0**n) is None
        known = add(known, begin(*roi(), contrast=2.0**n))
    assert len(known.templates) == 12
    assert known.side(2.0**13) == 0
    # those there are still learn
    assert known.side(2.0**11) == 60


def test_a_template_is_the_mean_of_its_frames(roi):
    frames = [roi(seed=seed)[0] for seed in range(6)]
    contrasts = [1.0, 1.1, 0.9, 1.2, 0.95, 1.05]
    known = add(None, begin(frames[0], roi()[1]))
    for frame, contrast in zip(frames[1:], contrasts[1:], strict=True):
        known = learn(known, frame, contrast)
    (template,) = known.templates
    assert template.frames == 6
    assert known.contrast == 1.05
    assert template.contrast == pytest.approx(np.mean(contrasts))
    np.testing.assert_allclose(template.image, np.mean(frames, axis=0), atol=1e-5)


def test_its_rim_is_made_anew_whenever_twice_as_many_frames_are_in_it(known, roi):
    rims = [known.templates[0].rim]
    for seed in range(1, 9):
        known = learn(known, roi(seed=seed)[0], 1.0)
        rims.append(known.templates[0].rim)
    fresh = [n + 1 for n in range(1, 9) if rims[n] is not rims[n - 1]]
    assert fresh == [2, 4, 8]
    # and is closer to the body itself: less noise, and less blurred against it
    body, _ = roi(noise=0.0)
    rows, columns = np.rint(rims[0].points + 29.5).astype(int).T
    first, last = (np.abs(r.value - body[rows, columns]).mean() for r in (rims[0], rims[-1]))
    assert last < 0.6 * first


def test_a_template_that_has_seen_enough_stays_as_it_is(known, roi):
    image, _ = roi()
    for n in range(1, 64):
        assert known.side(1.0) == 60, n
        known = learn(known, image, 1.0)
    assert known.templates[0].frames == 64
    assert known.side(1.0) == 0


def test_what_was_not_seen_is_learned_when_it_is_seen(roi):
    image, inside = roi()
    first = image.copy()
    first[:10] = np.nan
    known = add(None, begin(first, inside))
    assert np.isnan(known.templates[0].image[:10]).all()
    second = roi(seed=1)[0].copy()
    second[50:] = np.nan
    known = learn(known, second, 1.0)
    learned = known.templates[0].image
    np.testing.assert_array_equal(learned[:10], second[:10])
    np.testing.assert_array_equal(learned[50:], first[50:])
    np.testing.assert_allclose(learned[10:50], (first + second)[10:50] / 2, atol=1e-6)


def test_a_template_learns_from_frames_of_its_own_contrast_only(known, roi):
    known = add(known, begin(*roi(gain=3.0), contrast=3.0))
    known = learn(known, roi(gain=2.7, seed=2)[0], 2.7)
    faint, strong = known.templates
    assert (faint.frames, strong.frames) == (1, 2)
    assert strong.contrast == pytest.approx(2.85)
    assert known.current is strong
    known = learn(known, roi(gain=1.1, seed=3)[0], 1.1)
    assert [a.frames for a in known.templates] == [2, 2]
    assert known.current is known.templates[0]


def test_the_best_template_is_strong_and_the_mean_of_several_frames(known, roi):
    known = add(known, begin(*roi(gain=2.0), contrast=2.0))
    assert known.best.contrast == 2.0
    for seed in range(7):
        known = learn(known, roi(seed=seed)[0], 1.0)
    # eight frames of half the contrast tell as much as two of the whole
    assert known.best.contrast == 1.0
    known = learn(learn(known, roi(gain=2.0)[0], 2.0), roi(gain=2.0)[0], 2.0)
    assert known.best.contrast == 2.0


@pytest.mark.parametrize("reach", [10, 100])
def test_a_window_holds_the_particle_and_the_band_around_it(reach):
    bbox = np.array([200 - reach, 200, 200 + reach // 2, 230])
    side = window_side(bbox, np.array([200.0, 201.0]))
    assert side % 2 == 0
    largest = max(reach, 29)
    assert side / 2 >= largest + band_px(largest)
    assert side / 2 <= largest + band_px(largest) + 6
