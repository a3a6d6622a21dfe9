from __future__ import annotations

import numpy as np
import pytest

from operando.streamer.core.register.drift import (
    Steps,
    error_variance,
    own_motion,
    robust_mean,
    robust_weights,
    scatter_step,
)


def solved(residual, variance, fitted):
    scatter = 0.0
    for _ in range(40):
        scatter = scatter_step(residual, variance, scatter, fitted)
    return scatter


@pytest.mark.parametrize("true", [0.0, 0.3, 3.0])
def test_scatter_beyond_the_errors_is_found(true):
    rng = np.random.default_rng(1)
    variance = rng.uniform(0.5, 2, (4000, 2)) ** 2
    residual = rng.normal(0, np.sqrt(variance + true**2))
    assert solved(residual, variance, 0) == pytest.approx(true**2, abs=0.08 * (1 + true**2))


def test_scatter_of_few_is_right_on_average():
    rng = np.random.default_rng(2)
    variance = np.full((9, 2), 0.01)
    found = []
    for _ in range(800):
        values = rng.normal(0, 0.1, (9, 2))
        found.append(scatter_step(values - values.mean(axis=0), variance, 0.0, 1))
    assert np.mean(found) == pytest.approx(0.0, abs=0.001)


def test_a_minority_far_off_has_no_weight_and_makes_no_scatter():
    rng = np.random.default_rng(3)
    residual = rng.normal(0, 0.1, (12, 2))
    variance = np.full((12, 2), 0.01)
    alone = solved(residual[:9], variance[:9], 0)
    residual[9:] += 8.0
    assert (robust_weights(residual, variance)[9:] == 0).all()
    assert solved(residual, variance, 0) == pytest.approx(alone, abs=0.003)


def test_when_most_are_far_off_it_is_scatter():
    residual = np.random.default_rng(4).normal(0, 5.0, (9, 2))
    variance = np.full((9, 2), 0.01)
    assert (robust_weights(residual, variance) > 0).all()
    assert solved(residual, variance, 0) == pytest.approx(25.0, rel=0.6)


def test_the_mean_weighs_each_component_by_its_own_error():
    values = np.array([[0.0, 1.0], [1.0, 0.0]])
    sigma = np.array([[0.1, 1.0], [1.0, 0.1]])
    drift = robust_mean(values, sigma**2, np.zeros((2, 2)), Steps(mean=0.0, vectors=1000.0))
    assert np.abs(drift.yx).max() < 0.15
    assert drift.sigma == pytest.approx([0.1, 0.1], rel=0.05)


def test_one_particle_has_the_error_of_its_position():
    drift = robust_mean(
        np.array([[3.0, 4.0]]), np.array([[0.04, 0.09]]), np.zeros((1, 2)), Steps(mean=0.0)
    )
    assert drift.yx == pytest.approx([3, 4])
    assert drift.sigma == pytest.approx([0.2, 0.3])


def test_own_motion_is_averaged_but_a_jump_is_believed():
    noise = error_variance(np.array([0.1, 0.1]))
    residual, memory = np.zeros(2), noise
    rng = np.random.default_rng(5)
    for _ in range(200):
        innovation = rng.normal(0, 0.1, 2) - residual
        residual, memory = own_motion(residual, memory, innovation, noise, 0.0)
    assert np.sqrt(memory) == pytest.approx(0.1 / np.sqrt(201), rel=0.05)
    assert np.abs(residual).max() < 0.03
    jumped, _ = own_motion(residual, memory, np.array([5.0, 0.0]), noise, 0.0)
    assert jumped[0] == pytest.approx(residual[0] + 5.0, abs=0.01)
