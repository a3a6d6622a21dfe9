from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from operando.streamer.core.link.ssim import DATA_RANGE, bodies, pair_ssim, rois_of, side_of

SHAPE = (120, 140)
ALL = np.ones(SHAPE, bool)


def rois(see, centre, radius, *, side=50.0, size=32, valid=ALL, od=None, at=None, **options):
    """The ROI (size, size) of a disc."""
    detections, drawn = see([centre], [radius], shape=SHAPE, **options)
    found = bodies(drawn if od is None else od, valid, detections)
    at = detections.yx if at is None else np.array([at])
    return rois_of(found, np.array([0]), at, np.array([side]), size)


def standard(image):
    return (image - image.mean()) / image.std()


# ---- SSIM of pairs -------------------------------------------------------------------------


def test_equals_scikit_image_on_standardised_rois():
    rng = np.random.default_rng(0)
    first = rng.normal(0.3, 0.2, (4, 32, 32)).astype(np.float32)
    second = (0.7 * first + rng.normal(0, 0.1, first.shape)).astype(np.float32)
    expected = [
        structural_similarity(
            standard(a.astype(float)),
            standard(b.astype(float)),
            data_range=DATA_RANGE,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for a, b in zip(first, second, strict=True)
    ]
    found = pair_ssim(*(torch.from_numpy(x)[:, None] for x in (first, second)))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_gain_and_offset_do_not_count():
    rng = np.random.default_rng(1)
    first = torch.from_numpy(rng.normal(0, 1, (2, 1, 32, 32)).astype(np.float32))
    np.testing.assert_allclose(pair_ssim(first, 4 * first + 0.3), 1, atol=1e-4)


def test_what_is_known_in_one_only_does_not_count():
    rng = np.random.default_rng(2)
    first = torch.from_numpy(rng.normal(0, 1, (1, 1, 32, 32)).astype(np.float32))
    second = first.clone()
    second[..., :8] = 5.0
    cut = first.clone()
    cut[..., :8] = torch.nan
    assert pair_ssim(first, second)[0] < 0.9
    np.testing.assert_allclose(pair_ssim(cut, second), 1, atol=1e-4)
    np.testing.assert_allclose(pair_ssim(second, cut), 1, atol=1e-4)


def test_what_cannot_be_compared_is_nan():
    flat = torch.ones(1, 1, 32, 32)
    unknown = torch.full((1, 1, 32, 32), torch.nan)
    varies = torch.arange(1024.0).reshape(1, 1, 32, 32)
    assert np.isnan(pair_ssim(flat, varies)).all()
    assert np.isnan(pair_ssim(unknown, varies)).all()


# ---- ROIs ----------------------------------------------------------------------------------


def test_a_roi_is_the_density_above_the_background_within_the_mask(see):
    detections, od = see([(60, 60), (60, 95)], [16, 14], contrast=0.5, shape=SHAPE)
    od = od + np.float32(0.25)
    found = bodies(od, ALL, detections)
    # a window that the neighbour reaches into
    roi = rois_of(found, np.array([0]), detections.yx[:1], np.array([80.0]), 80)[0, 0].numpy()
    y, x = np.mgrid[:80, :80] - 39.5
    distance = np.hypot(y, x)
    np.testing.assert_allclose(roi[distance < 14], 0.5, atol=1e-5)
    np.testing.assert_allclose(roi[distance > 18], 0, atol=1e-5)


def test_a_roi_does_not_depend_on_where_the_particle_lies(see):
    here = rois(see, (60.0, 60.0), 16.0)
    there = rois(see, (75.0, 43.0), 16.0)
    torch.testing.assert_close(here, there)


def test_cells_are_means_over_their_area(see):
    detections, od = see([(60, 60)], [20], shape=SHAPE)
    noisy = od + np.random.default_rng(0).normal(0, 0.1, SHAPE).astype(np.float32)
    found = bodies(noisy, ALL, detections)
    centre, side = np.array([[59.5, 59.5]]), np.array([64.0])  # 2 x 2 pixels a cell
    fine = rois_of(found, np.array([0]), centre, side, 64)
    coarse = rois_of(found, np.array([0]), centre, side, 32)
    torch.testing.assert_close(coarse, torch.nn.functional.avg_pool2d(fine, 2))


def test_beyond_the_frame_and_what_can_be_seen_is_unknown(see):
    at = (60.0, 10.0)
    roi = rois(see, at, 8.0, side=40.0, at=at)[0, 0]
    beyond = (np.arange(32) + 0.5) / 32 * 40 - 20 + 10 < -0.5
    assert torch.isnan(roi[:, beyond]).all()
    assert torch.isfinite(roi[:, ~beyond]).all()
    valid = ALL.copy()
    valid[:50] = False
    roi = rois(see, at, 8.0, side=40.0, at=at, valid=valid)[0, 0]
    assert torch.isnan(roi[:8]).all()
    assert torch.isfinite(roi[8:, ~beyond]).all()


def test_a_hot_pixel_is_filled(see):
    clean = rois(see, (60.0, 60.0), 16.0)
    _, od = see([(60, 60)], [16], shape=SHAPE)
    valid = ALL.copy()
    od[62, 57], valid[62, 57] = 9.0, False
    torch.testing.assert_close(rois(see, (60.0, 60.0), 16.0, od=od, valid=valid), clean)


def test_size_counts_in_the_window_of_the_track(see):
    first = rois(see, (60.0, 60.0), 15.0)
    assert pair_ssim(first, first)[0] == pytest.approx(1, abs=1e-5)
    values = [pair_ssim(first, rois(see, (60.0, 60.0), r))[0] for r in (16.0, 18.0, 21.0)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 0.6 > 0.5 > values[2]


def test_the_window_is_in_proportion_to_the_particle():
    assert side_of(np.pi * 20**2) == pytest.approx(70)
    assert side_of(0.0) > 0
