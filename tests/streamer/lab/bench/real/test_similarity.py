"""Scale and rotation between two sets of points."""

from __future__ import annotations

import numpy as np
import pytest

from operando.streamer.lab.bench.ruler import fit_similarity


def turned(points: np.ndarray, scale: float, angle: float, shift=(0.0, 0.0)) -> np.ndarray:
    """Scale and turn about the mean, y towards x."""
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    middle = points.mean(axis=0)
    y, x = (points - middle).T
    return np.stack([c * y - s * x, s * y + c * x], axis=1) + middle + shift


@pytest.fixture
def points() -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 1000, (12, 2))


def test_exact_points_give_the_exact_similarity(points):
    fit = fit_similarity(points, turned(points, 0.9969, 0.002, (20.1, 10.0)), draws=10)
    assert fit.scale == pytest.approx(0.9969, abs=1e-9)
    assert fit.rotation == pytest.approx(0.002, abs=1e-9)
    np.testing.assert_allclose(fit.shift, (20.1, 10.0), atol=1e-6)
    assert np.abs(fit.residuals).max() < 1e-6


def test_one_wrong_particle_hardly_matters(points):
    after = turned(points, 0.9969, 0.0)
    after += np.random.default_rng(2).normal(0, 0.05, after.shape)
    after[3] += (12.0, -9.0)
    fit = fit_similarity(points, after, draws=10)
    assert fit.scale == pytest.approx(0.9969, abs=3e-4)
    assert np.hypot(*fit.residuals.T).argmax() == 3


def test_errors_say_how_far_scale_and_rotation_scatter(points):
    rng = np.random.default_rng(3)
    after = turned(points, 0.997, 0.01)
    fits = [fit_similarity(points, after + rng.normal(0, 0.3, after.shape), 4) for _ in range(200)]
    for name, true in (("scale", 0.997), ("rotation", 0.01)):
        off = np.array([getattr(fit, name) - true for fit in fits])
        told = np.sqrt(np.mean([getattr(fit, f"{name}_sigma") ** 2 for fit in fits]))
        assert 0.75 < off.std() / told < 1.35, name
        assert abs(off.mean()) < 4 * off.std() / np.sqrt(len(off)), name


def test_the_bootstrap_agrees_with_the_normal_equations():
    rng = np.random.default_rng(4)
    points = rng.uniform(0, 1000, (40, 2))
    fit = fit_similarity(points, turned(points, 0.997, 0.0) + rng.normal(0, 0.3, points.shape), 300)
    assert 0.6 < fit.scale_bootstrap / fit.scale_sigma < 1.6


def test_two_points_are_refused(points):
    with pytest.raises(ValueError, match="wanted 3 points or more, got 2"):
        fit_similarity(points[:2], points[:2])


def test_points_with_large_errors_count_less(points):
    rng = np.random.default_rng(5)
    sigma = np.where(np.arange(len(points)) % 2, 0.05, 1.0)
    off: dict[str, list[float]] = {"weighted": [], "alike": []}
    for _ in range(100):
        after = turned(points, 0.997, 0.0) + sigma[:, None] * rng.normal(0, 1, points.shape)
        off["weighted"].append(fit_similarity(points, after, 4, sigma=sigma).scale - 0.997)
        off["alike"].append(fit_similarity(points, after, 4).scale - 0.997)
    rms = {name: np.sqrt(np.mean(np.square(values))) for name, values in off.items()}
    assert rms["weighted"] < 0.6 * rms["alike"]


def test_errors_that_are_told_too_small_do_not_let_one_point_decide(points):
    rng = np.random.default_rng(6)
    sigma = np.full(len(points), 0.05)
    sigma[0] = 1e-4
    scales = []
    for _ in range(100):
        after = turned(points, 0.997, 0.0) + rng.normal(0, 0.5, points.shape)
        scales.append(fit_similarity(points, after, 4, sigma=sigma).scale)
    plain = [
        fit_similarity(points, turned(points, 0.997, 0.0) + rng.normal(0, 0.5, points.shape), 4)
        for _ in range(100)
    ]
    assert np.std(scales) < 1.3 * np.std([fit.scale for fit in plain])
