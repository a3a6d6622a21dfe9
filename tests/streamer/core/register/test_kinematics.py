from __future__ import annotations

import numpy as np
import pytest

from operando.streamer.core.register.particle import rates


def test_errors_of_a_parabola_are_those_of_repeated_noise():
    rng = np.random.default_rng(0)
    times = np.array([0.0, 3.0, 5.0, 9.0, 12.0])
    sigma = np.array([[0.1, 0.3], [0.2, 0.1], [0.1, 0.1], [0.4, 0.1], [0.1, 0.2]])
    found = [rates(times, rng.normal(0, sigma), sigma) for _ in range(1500)]
    told = found[0]
    assert np.std([f.velocity for f in found], axis=0) == pytest.approx(
        told.velocity_sigma, rel=0.08
    )
    assert np.std([f.acceleration for f in found], axis=0) == pytest.approx(
        told.acceleration_sigma, rel=0.08
    )


def test_two_positions_give_a_quotient():
    found = rates(np.array([0.0, 2.0]), np.array([[0, 0], [1, 4.0]]), np.full((2, 2), 0.1))
    assert found.velocity == pytest.approx([0.5, 2.0])
    assert found.velocity_sigma == pytest.approx([0.1 * np.sqrt(2) / 2] * 2, rel=0.01)
    assert np.isnan(found.acceleration).all()
    assert np.isnan(found.acceleration_sigma).all()


@pytest.mark.parametrize("times", [[5.0], [5.0, 5.0], [0.0, np.nan], [0.0, np.inf]])
def test_no_rate_where_time_does_not_advance(times):
    n = len(times)
    found = rates(np.array(times), np.zeros((n, 2)), np.full((n, 2), 0.1))
    assert np.isnan(found.velocity).all()
    assert np.isnan(found.velocity_sigma).all()


def test_times_that_all_but_coincide_are_one_time():
    times = np.array([0.0, 10.0, 10.0 + 1e-7])
    found = rates(times, np.array([[0, 0], [1, 1], [1.1, 1.1]]), np.full((3, 2), 0.1))
    assert found.velocity == pytest.approx([0.105, 0.105], rel=1e-3)
    assert np.isnan(found.acceleration).all()
