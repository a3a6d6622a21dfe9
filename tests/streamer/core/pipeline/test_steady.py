"""What neither all particles share nor takes time is error, and is taken out; nothing else is."""

from __future__ import annotations

import numpy as np
import pytest

from operando.streamer.core.pipeline.scan_places import common_path, steady

FRAMES, PARTICLES, SIGMA = 60, 6, 0.1


def series(*, own=0.5, jitter=2.0, seed=0, frames=FRAMES, particles=PARTICLES):
    """True places of particles that jitter together and drift apart slowly, and measured ones."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, frames)[:, None, None]
    home = rng.uniform(50, 400, (1, particles, 2))
    slow = own * np.sin(2 * t + rng.uniform(0, 6, (1, particles, 2)))
    true = home + slow + rng.normal(0, jitter, (frames, 1, 2))
    return true, true + rng.normal(0, SIGMA, true.shape)


def sigmas(yx):
    return np.full(yx.shape, SIGMA)


def rms(error):
    """Without the constant offset of each particle."""
    return float(np.sqrt(np.nanmean(np.square(error - np.nanmean(error, axis=0)))))


def test_noise_of_single_frames_goes_and_the_jitter_of_the_field_stays():
    true, seen = series()
    out, left = steady(seen, sigmas(seen))
    before, after = rms(seen - true), rms(out - true)
    assert before == pytest.approx(SIGMA, rel=0.1)
    assert after < 0.65 * before
    # what is left is what is told to be left
    assert after == pytest.approx(float(np.sqrt(np.mean(left**2))), rel=0.3)


def test_motion_that_is_fast_against_the_noise_is_left_alone():
    true, _ = series()
    rng = np.random.default_rng(5)
    true = true + rng.normal(0, 1.0, true.shape)  # each particle jumps for itself
    seen = true + rng.normal(0, SIGMA, true.shape)
    out, left = steady(seen, sigmas(seen))
    assert rms(out - true) < 1.2 * rms(seen - true)
    np.testing.assert_allclose(left, SIGMA, rtol=0.05)


def test_a_step_of_one_particle_is_kept():
    true, _ = series()
    true[30:, 2] += [1.5, -1.0]
    seen = true + np.random.default_rng(3).normal(0, SIGMA, true.shape)
    out, _ = steady(seen, sigmas(seen))
    step = (out - true)[30:36, 2].mean(axis=0) - (out - true)[24:30, 2].mean(axis=0)
    assert np.abs(step).max() < 0.25
    others = np.delete(out - true, 2, axis=1)
    assert rms(others) < 0.75 * SIGMA


def test_a_wild_value_moves_neither_its_neighbours_nor_the_field():
    _, seen = series()
    wild = seen.copy()
    wild[20, 1] += 30.0
    calm, out = steady(seen, sigmas(seen))[0], steady(wild, sigmas(seen))[0]
    change = np.abs(out - calm)
    assert np.delete(change[20], 1, axis=0).max() < 0.1
    # those that it would pull stay as they were measured
    assert np.delete(change[:, 1], 20, axis=0).max() < 4 * SIGMA


def test_what_was_not_found_stays_unknown_and_the_rest_is_as_good():
    true, seen = series()
    holes = np.random.default_rng(1).random(seen.shape[:2]) < 0.15
    seen[holes] = np.nan
    sigma = sigmas(seen)
    sigma[holes] = np.nan
    out, left = steady(seen, sigma)
    np.testing.assert_array_equal(np.isnan(out).any(axis=2), holes)
    assert rms(out - true) < 0.75 * SIGMA
    assert np.isfinite(left[~holes]).all()


@pytest.mark.parametrize(("frames", "particles"), [(60, 3), (11, 6)])
def test_too_few_of_either_tell_nothing(frames, particles):
    _, seen = series(frames=frames, particles=particles)
    out, left = steady(seen, sigmas(seen))
    assert out is seen
    np.testing.assert_array_equal(left, SIGMA)


def test_a_frame_with_few_particles_is_left_as_it_was():
    _, seen = series()
    seen[10, 3:] = np.nan
    out, left = steady(seen, sigmas(seen))
    np.testing.assert_array_equal(out[10, :3], seen[10, :3])
    np.testing.assert_array_equal(left[10, :3], SIGMA)


def test_the_common_path_is_that_of_most_particles():
    true, _ = series(own=0.0)
    true[15:, 0] += 40.0
    true[5:9, 1] = np.nan
    path = common_path(true)
    np.testing.assert_array_equal(path[0], [0, 0])
    np.testing.assert_allclose(path, true[:, 3] - true[0, 3], atol=1e-9)
    # a frame in which nothing was found hides its step
    true[20] = np.nan
    gap = common_path(true)
    np.testing.assert_allclose(gap[:20], path[:20], atol=1e-9)
    assert np.isfinite(gap).all()
