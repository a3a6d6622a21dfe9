"""Learn templates from frames, and not from frames that teach nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from operando.streamer.core.register.images import crop_rois
from operando.streamer.core.register.particle import PositionMeasurement
from operando.streamer.core.register.templates import learn_frame, window_side

CENTRE = np.array([75.3, 80.6])
RADIUS = 16.0
SHAPE = (150, 170)


def seen(frame, known=None, *, yx=CENTRE, contrast=1.0, row=0, sigma=0.05, side=96, shown=True):
    """Let one particle be seen at a place in a frame, and be learned."""
    item = PositionMeasurement(
        particle=5,
        yx=np.array(yx),
        sigma=np.full(2, sigma),
        seen=True,
        cut=False,
        followed=True,
        row=row,
        mask_yx=np.array(yx),
        contrast=contrast,
    )
    roi = crop_rois(frame.image, np.array([yx]), side)[0, 0].numpy()
    pictures = {5: (np.array(yx), roi)} if shown else {}
    return learn_frame(known or {}, [item], pictures, frame.corrected, frame.detections)


@pytest.mark.parametrize("side", [32, 96, 97])
def test_a_template_has_the_size_of_its_particle_whatever_is_published(draw, side):
    frame = draw([CENTRE], [RADIUS], noise=0.01, shape=SHAPE)
    (template,) = seen(frame, side=side)[5].templates
    size = window_side(frame.detections.bbox[0], CENTRE)
    assert template.image.shape == template.inside.shape == (size, size)
    middle = [(size - 1) / 2] * 2
    clean = draw([middle], [RADIUS], noise=0.0, shape=(size, size)).corrected.od
    both = template.image - template.image.mean() - (clean - clean.mean())
    assert np.abs(both).mean() < 0.05
    assert np.count_nonzero(template.inside) == frame.detections.area[0]
    assert template.rim is not None
    assert template.rim.radius == pytest.approx(RADIUS, rel=0.05)


def test_the_background_around_says_how_far_its_structure_moves_a_place(draw):
    calm, rough = (draw([CENTRE], [10.0], noise=n, shape=(300, 300)) for n in (0.01, 0.04))
    responses = [seen(frame)[5].templates[0].response for frame in (calm, rough)]
    assert np.all(responses[0] > 0)
    np.testing.assert_allclose(responses[1] / responses[0], 4.0, rtol=0.3)


def test_a_crowded_frame_says_nothing_of_the_background(draw):
    frame = draw([CENTRE], [RADIUS], shape=SHAPE)
    valid = np.zeros(SHAPE, bool)
    valid[45:105, 50:110] = True
    crowded = replace(frame, corrected=replace(frame.corrected, valid=valid))
    template = seen(crowded)[5].templates[0]
    assert template.rim is not None
    assert np.isnan(template.response).all()


def test_a_neighbour_is_no_part_of_the_template(draw):
    neighbour = CENTRE + [0.0, 31.0]
    frame = draw([CENTRE, neighbour], [RADIUS, 13.0], noise=0.01, shape=SHAPE)
    (template,) = seen(frame)[5].templates
    middle = (template.image.shape[0] - 1) / 2
    y, x = np.indices(template.image.shape)
    other = np.hypot(y - middle, x - middle - 31.0) < 13.0 * 0.85
    assert other.sum() > 20
    assert np.isnan(template.image[other]).all()
    assert not template.inside[other].any()
    assert np.isfinite(template.image[template.inside]).mean() > 0.9
    assert template.rim is not None
    assert np.hypot(*(template.rim.points - [0.0, 31.0]).T).min() > 13.0 * 0.85


def test_frames_of_like_contrast_are_averaged_and_others_begin_a_template(draw):
    known = seen(draw([CENTRE], [RADIUS], shape=SHAPE))
    for seed, contrast in enumerate((1.1, 0.9, 0.5, 0.45, 1.0), start=1):
        frame = draw([CENTRE], [RADIUS], [contrast], seed=seed, shape=SHAPE)
        known = seen(frame, known, contrast=contrast)
    strong, faint = known[5].templates
    assert (strong.frames, faint.frames) == (4, 2)
    assert strong.contrast == pytest.approx(1.0)
    assert faint.contrast == pytest.approx(0.475)
    assert known[5].contrast == 1.0
    assert np.isfinite(faint.response).all()


@pytest.mark.parametrize(
    "change",
    [
        {"row": -1},
        {"contrast": float("nan")},
        {"contrast": -0.3},
        {"sigma": 0.8},
        {"shown": False},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_frame_in_which_the_place_is_not_sure_teaches_nothing(draw, change):
    frame = draw([CENTRE], [RADIUS], shape=SHAPE)
    known = seen(frame)
    assert seen(frame, known, **change)[5] is known[5]


def test_of_a_template_that_has_seen_enough_only_the_contrast_is_followed(draw):
    frame = draw([CENTRE], [RADIUS], shape=SHAPE)
    known = seen(frame)
    full = replace(known[5].templates[0], frames=64)
    known = {5: replace(known[5], templates=(full,))}
    after = seen(frame, known, contrast=0.9)[5]
    assert after.templates[0] is full
    assert after.contrast == 0.9


def test_a_particle_cut_by_the_frame_leaves_what_was_not_seen_unknown(draw):
    centre = np.array([5.0, 80.0])
    frame = draw([centre], [RADIUS], shape=SHAPE)
    (template,) = seen(frame, yx=centre)[5].templates
    size = template.image.shape[0]
    outside = int(np.ceil((size - 1) / 2 - centre[0]))
    assert np.isnan(template.image[: outside - 1]).all()
    assert np.isfinite(template.image[outside + 1 :]).all()
    # the next frame shows more of it
    moved = draw([centre + [6.0, 0.0]], [RADIUS], seed=1, shape=SHAPE)
    grown = seen(moved, {5: seen(frame, yx=centre)[5]}, yx=centre + [6.0, 0.0])[5].templates[0]
    assert np.isfinite(grown.image[outside - 4 :]).all()
