from __future__ import annotations

import numpy as np
import pytest
import torch

from operando.streamer.core.register import motion
from operando.streamer.core.register.images import crop_rois, fuse, prepare
from operando.streamer.core.register.motion import FrameMeasurement, PositionMeasurement
from operando.streamer.core.register.settings import RegisterSettings, auto_roi

SHAPE = (200, 220)
CENTRES = np.array([[50.0, 60.0], [60.0, 160.0], [140.0, 50.0], [150.0, 150.0], [100.0, 105.0]])
WIDTH = 9.0
CPU = torch.device("cpu")


def scene(centres):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return sum(np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 2 / WIDTH**2) for cy, cx in centres)


def moved_field(positions):
    state = motion.init()
    for number, yx in enumerate((CENTRES, positions)):
        measured = tuple(
            PositionMeasurement(particle=i, yx=p, sigma=np.full(2, 0.1), seen=True, cut=False)
            for i, p in enumerate(yx)
        )
        now = FrameMeasurement(
            frame=number, time=float(number), energy=None, shape=SHAPE, measured=measured
        )
        state, field = motion.update(state, now, RegisterSettings())
    return field


def moments():
    return {i: np.array([WIDTH**2, WIDTH**2, 0.0]) for i in range(len(CENTRES))}


def test_drift_and_own_motion_are_taken_out_with_the_right_sign():
    own = np.array([[0.0, 0.0], [3.0, -2.5], [0.0, 0.0], [-2.0, 1.5], [0.0, 0.0]])
    positions = CENTRES + (6.3, -4.7) + own
    image = scene(positions).astype(np.float32)
    aligned = fuse(prepare(image, np.ones(SHAPE, bool), CPU), moved_field(positions), moments())
    aligned = aligned.numpy()
    expected = scene(CENTRES)
    for cy, cx in CENTRES.astype(int):
        window = (slice(cy - 8, cy + 9), slice(cx - 8, cx + 9))
        assert (
            np.abs(aligned[window] - expected[window]).max() < 0.03
        )  # the blobs have tails beyond where they are moved


def test_nothing_wraps_around_and_invalid_pixels_are_nan():
    positions = CENTRES + (15.0, 0.0)
    image = scene(positions).astype(np.float32)
    valid = np.ones(SHAPE, bool)
    valid[100:104, 20:24] = False
    aligned = fuse(prepare(image, valid, CPU), moved_field(positions), moments()).numpy()
    assert np.isnan(aligned[-14:]).all()
    assert np.isfinite(aligned[:-17, 30:]).all()
    assert np.isnan(aligned[85:89, 20:24]).all()


@pytest.mark.parametrize("side", [32, 33])
def test_rois_are_centred_on_sub_pixel_positions(side):
    positions = CENTRES + (0.37, -0.81)
    image = prepare(scene(positions).astype(np.float32), np.ones(SHAPE, bool), CPU)
    rois = crop_rois(image, positions, side).numpy()[:, 0]
    steps = np.arange(side) - (side - 1) / 2
    expected = np.exp(-(steps[:, None] ** 2 + steps**2) / 2 / WIDTH**2)
    assert rois.shape == (5, side, side)
    assert np.abs(rois - expected).max() < 0.01


def test_a_roi_over_the_rim_has_nan_outside():
    image = prepare(np.ones(SHAPE, np.float32), np.ones(SHAPE, bool), CPU)
    (roi,) = crop_rois(image, np.array([[2.0, 100.0]]), 32).numpy()[:, 0]
    assert np.isnan(roi[:13]).all()
    assert np.isfinite(roi[15:]).all()


def test_no_particles_give_no_rois():
    image = prepare(np.ones(SHAPE, np.float32), np.ones(SHAPE, bool), CPU)
    assert crop_rois(image, np.zeros((0, 2)), 32).shape == (0, 1, 32, 32)


def test_auto_roi_is_a_multiple_of_16_within_bounds():
    assert auto_roi([40, 70.0], RegisterSettings()) == 112
    assert auto_roi([], RegisterSettings()) == 96
    assert auto_roi([2000.0], RegisterSettings()) == 384
    assert auto_roi([70.0], RegisterSettings(roi_px=50)) == 50
