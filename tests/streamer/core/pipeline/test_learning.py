"""What frames teach of the looks of particles, and which frames teach nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from operando.streamer.core.pipeline.learning import remember
from operando.streamer.core.pipeline.places import MeasuredPlace, Places
from operando.streamer.core.register.fuse import crop_rois
from operando.streamer.core.register.motion import PositionMeasurement
from operando.streamer.core.register.templates import window_side

CENTRE = np.array([75.3, 80.6])
RADIUS = 16.0
SHAPE = (150, 170)


def seen(frame, memories=None, *, yx=CENTRE, contrast=1.0, row=0, sigma=0.05, side=96, told=True):
    """Let one particle be seen at a place in a frame, and be remembered."""
    place = MeasuredPlace(mask_yx=np.array(yx), contrast=contrast, row=row, clean=True)
    item = PositionMeasurement(
        particle=5, yx=np.array(yx), sigma=np.full(2, sigma), seen=True, cut=False, followed=True
    )
    places = Places(measured=(item,), found={5: place}, misses={}, confirmed={})
    roi = crop_rois(frame.image, np.array([yx]), side)[0, 0].numpy()
    pictures = {5: (np.array(yx), roi)} if told else {}
    return remember(memories or {}, places, pictures, frame.corrected, frame.detections)


@pytest.mark.parametrize("side", [32, 96, 97])
def test_a_template_has_the_size_of_its_particle_whatever_is_published(draw, side):
    frame = draw([CENTRE], [RADIUS], noise=0.01, shape=SHAPE)
    (anchor,) = seen(frame, side=side)[5].anchors
    size = window_side(frame.detections.bbox[0], CENTRE)
    assert anchor.image.shape == anchor.inside.shape == (size, size)
    middle = [(size - 1) / 2] * 2
    clean = draw([middle], [RADIUS], noise=0.0, shape=(size, size)).corrected.od
    both = anchor.image - anchor.image.mean() - (clean - clean.mean())
    assert np.abs(both).mean() < 0.05
    assert np.count_nonzero(anchor.inside) == frame.detections.area[0]
    assert anchor.rim is not None
    assert anchor.rim.radius == pytest.approx(RADIUS, rel=0.05)


def test_the_background_around_says_how_far_its_structure_moves_a_place(draw):
    calm, rough = (draw([CENTRE], [10.0], noise=n, shape=(300, 300)) for n in (0.01, 0.04))
    responses = [seen(frame)[5].anchors[0].response for frame in (calm, rough)]
    assert np.all(responses[0] > 0)
    np.testing.assert_allclose(responses[1] / responses[0], 4.0, rtol=0.3)


def test_a_crowded_frame_says_nothing_of_the_background(draw):
    frame = draw([CENTRE], [RADIUS], shape=SHAPE)
    valid = np.zeros(SHAPE, bool)
    valid[45:105, 50:110] = True
    crowded = replace(frame, corrected=replace(frame.corrected, valid=valid))
    anchor = seen(crowded)[5].anchors[0]
    assert anchor.rim is not None
    assert np.isnan(anchor.response).all()


def test_a_neighbour_is_no_part_of_the_template(draw):
    neighbour = CENTRE + [0.0, 31.0]
    frame = draw([CENTRE, neighbour], [RADIUS, 13.0], noise=0.01, shape=SHAPE)
    (anchor,) = seen(frame)[5].anchors
    middle = (anchor.image.shape[0] - 1) / 2
    y, x = np.indices(anchor.image.shape)
    other = np.hypot(y - middle, x - middle - 31.0) < 13.0 * 0.85
    assert other.sum() > 20
    assert np.isnan(anchor.image[other]).all()
    assert not anchor.inside[other].any()
    assert np.isfinite(anchor.image[anchor.inside]).mean() > 0.9
    assert anchor.rim is not None
    assert np.hypot(*(anchor.rim.points - [0.0, 31.0]).T).min() > 13.0 * 0.85


def test_frames_of_like_contrast_are_averaged_and_others_begin_a_template(draw):
    memories = seen(draw([CENTRE], [RADIUS], shape=SHAPE))
    for seed, contrast in enumerate((1.1, 0.9, 0.5, 0.45, 1.0), start=1):
        frame = draw([CENTRE], [RADIUS], [contrast], seed=seed, shape=SHAPE)
        memories = seen(frame, memories, contrast=contrast)
    strong, faint = memories[5].anchors
    assert (strong.frames, faint.frames) == (4, 2)
    assert strong.contrast == pytest.approx(1.0)
    assert faint.contrast == pytest.approx(0.475)
    assert memories[5].contrast == 1.0
    assert np.isfinite(faint.response).all()


@pytest.mark.parametrize(
    "change",
    [
        {"row": -1},
        {"contrast": float("nan")},
        {"contrast": -0.3},
        {"sigma": 0.8},
        {"told": False},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_frame_in_which_the_place_is_not_sure_teaches_nothing(draw, change):
    frame = draw([CENTRE], [RADIUS], shape=SHAPE)
    memories = seen(frame)
    assert seen(frame, memories, **change)[5] is memories[5]


def test_of_a_template_that_has_seen_enough_only_the_contrast_is_followed(draw):
    frame = draw([CENTRE], [RADIUS], shape=SHAPE)
    memories = seen(frame)
    full = replace(memories[5].anchors[0], frames=64)
    memories = {5: replace(memories[5], anchors=(full,))}
    after = seen(frame, memories, contrast=0.9)[5]
    assert after.anchors[0] is full
    assert after.contrast == 0.9


def test_a_particle_cut_by_the_frame_leaves_what_was_not_seen_unknown(draw):
    centre = np.array([5.0, 80.0])
    frame = draw([centre], [RADIUS], shape=SHAPE)
    (anchor,) = seen(frame, yx=centre)[5].anchors
    size = anchor.image.shape[0]
    outside = int(np.ceil((size - 1) / 2 - centre[0]))
    assert np.isnan(anchor.image[: outside - 1]).all()
    assert np.isfinite(anchor.image[outside + 1 :]).all()
    # the next frame shows more of it
    moved = draw([centre + [6.0, 0.0]], [RADIUS], seed=1, shape=SHAPE)
    grown = seen(moved, {5: seen(frame, yx=centre)[5]}, yx=centre + [6.0, 0.0])[5].anchors[0]
    assert np.isfinite(grown.image[outside - 4 :]).all()
