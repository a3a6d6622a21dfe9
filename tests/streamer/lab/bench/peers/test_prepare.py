"""What peers are fed must not mislead them."""

from __future__ import annotations

import numpy as np

from operando.streamer.lab.bench.peers.interface import filled, standardised, windowed


def test_holes_are_filled_with_what_surrounds_them():
    y, x = np.indices((70, 90))
    ramp = np.stack([0.01 * y + 0.02 * x, 0.03 * x]).astype(np.float32)
    holed = ramp.copy()
    holed[0, 30:34, 40:43] = np.nan
    holed[1, :, :5] = np.inf
    whole, usable = filled(holed)
    assert usable.all()
    assert np.isfinite(whole).all()
    np.testing.assert_array_equal(whole[np.isfinite(holed)], ramp[np.isfinite(holed)])
    np.testing.assert_allclose(whole, ramp, atol=0.35)
    np.testing.assert_allclose(whole[0], ramp[0], atol=0.05)


def test_large_holes_take_the_nearest_level_and_outliers_do_not_count():
    stack = np.full((1, 100, 100), 2.0, np.float32)
    stack[:, 5, 5] = 500
    stack[:, 20:80, 20:80] = np.nan
    whole, _ = filled(stack)
    np.testing.assert_array_equal(whole[0, 20:80, 20:80], 2.0)


def test_a_frame_without_any_pixel_is_told():
    stack = np.ones((3, 20, 20), np.float32)
    stack[1] = np.nan
    whole, usable = filled(stack)
    assert usable.tolist() == [True, False, True]
    assert (whole[1] == 0).all()


def test_standardised_forgets_gain_and_offset():
    image = np.random.default_rng(0).normal(size=(1, 50, 50)).astype(np.float32)
    both = standardised(np.concatenate([image, 4 * image + 3]))
    np.testing.assert_allclose(both[0], both[1], atol=1e-5)
    assert np.isfinite(standardised(np.ones((1, 8, 8), np.float32))).all()


def test_windowed_ends_at_zero_and_has_no_mean():
    stack = 5 + np.random.default_rng(0).normal(size=(2, 40, 60)).astype(np.float32)
    out = windowed(stack, 0.25)
    assert np.abs(out[:, [0, -1]]).max() == 0
    np.testing.assert_allclose(out.mean(axis=(1, 2)), 0, atol=1e-4)
