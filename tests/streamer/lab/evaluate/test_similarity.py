"""Similarity of aligned windows: against a reference, and how misplacement lowers it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from operando.streamer.lab.evaluate.similarity import adjacent_ssim, compare_ssim, sides_of, windows
from operando.streamer.lab.simulate import SimSettings, Simulator


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def sim():
    return Simulator(
        SimSettings(
            seed=2,
            shape=(200, 210),
            n_particles=3,
            radius_px=(13.0, 20.0),
            energies=tuple(np.linspace(8400, 8420, 12)),
            wander_px=2.0,
            hidden=1,
            hidden_frames=3,
        )
    )


@pytest.fixture(scope="module")
def od(sim):
    noise = np.random.default_rng(0).normal(0, 0.02, (sim.n_frames, *sim.settings.shape))
    return np.stack([sim.od(k) for k in range(sim.n_frames)]) + noise.astype(np.float32)


def measured(sim):
    return np.where(sim.truth.visible[..., None], sim.truth.yx, np.nan)


def test_windows_are_cut_around_the_positions(sim, od):
    sides = np.array([41, 21, 31])
    yx = np.full((2, 3, 2), np.nan)
    yx[0] = [[60, 70], [80, 90], [5, 5]]
    yx[1, 1] = [50, 55]
    first, second = windows(od[:2], yx, sides)
    assert first.shape == (3, 1, 41, 41)
    np.testing.assert_allclose(first[0, 0], od[0, 40:81, 50:91], atol=1e-5)
    np.testing.assert_allclose(first[1, 0, 10:31, 10:31], od[0, 70:91, 80:101], atol=1e-5)
    assert torch.isfinite(first[1]).sum() == 21**2
    assert torch.isfinite(first[2]).sum() == 21**2  # from (-10, -10) to (20, 20)
    assert torch.isnan(second[[0, 2]]).all()
    np.testing.assert_allclose(second[1, 0, 20, 20], od[1, 50, 55], atol=1e-5)


def test_the_reference_implementation_agrees(sim, od):
    yx = np.round(measured(sim))[:2]
    found = adjacent_ssim(od[:2], yx, sim.truth.radius)
    for particle, side in enumerate(sides_of(sim.truth.radius)):
        (y, x), (v, u) = yx[:, particle].astype(int) - side // 2
        a, b = od[0, y : y + side, x : x + side], od[1, v : v + side, u : u + side]
        _, image = structural_similarity(
            a,
            b,
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            full=True,
        )
        assert found[0, particle] == pytest.approx(image[5:-5, 5:-5].mean(), abs=2e-4)


def test_misplaced_windows_are_less_alike_and_offsets_do_not_matter(sim, od):
    yx, radius = measured(sim), sim.truth.radius
    oracle = adjacent_ssim(od, yx, radius)
    pairs = sim.truth.visible[1:] & sim.truth.visible[:-1]
    np.testing.assert_array_equal(np.isfinite(oracle), pairs)
    jitter = yx + np.random.default_rng(0).normal(0, 0.7, yx.shape)
    found = compare_ssim(adjacent_ssim(od, jitter, radius), oracle)
    assert found.n == pairs.sum()
    assert found.mean < found.oracle_mean - 0.02
    assert found.variance > found.oracle_variance
    shifted = compare_ssim(adjacent_ssim(od, yx + 0.7, radius), oracle)
    assert shifted.mean == pytest.approx(shifted.oracle_mean, abs=0.005)
    assert shifted.n == found.n


def test_only_common_pairs_are_compared(sim, od):
    yx, radius = measured(sim), sim.truth.radius
    oracle = adjacent_ssim(od, yx, radius)
    gaps = yx.copy()
    gaps[4, 2] = np.nan
    found = compare_ssim(adjacent_ssim(od, gaps, radius), oracle)
    assert found.n == np.isfinite(oracle).sum() - 2
    assert found.mean == pytest.approx(found.oracle_mean)
    nothing = compare_ssim(adjacent_ssim(od, np.nan * yx, radius), oracle)
    assert nothing.n == 0
    assert np.isnan(nothing.mean)
