from __future__ import annotations

import numpy as np
import pytest

from operando.streamer.core.link.shift import common_shift, shape_similarity


def field(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(20, 440, (n, 2))


@pytest.mark.parametrize("shift", [(0.0, 0.0), (20.1, 10.0), (-38.0, 25.5)])
def test_finds_the_shift_although_half_of_the_particles_are_missing_or_new(shift):
    before = field(10)
    after = np.vstack([before[:6] + shift, field(5, seed=1)])
    weights = np.ones((10, 11))
    found, support = common_shift(before, after, weights, width=3, max_shift=60)
    np.testing.assert_allclose(found, shift, atol=0.6)
    assert 0.5 < support < 0.95


def test_a_pair_too_far_apart_is_no_candidate():
    found, support = common_shift(
        np.zeros((1, 2)), np.full((1, 2), 100.0), np.ones((1, 1)), width=3, max_shift=60
    )
    assert found.tolist() == [0, 0]
    assert support == 0


def test_no_tracks_have_no_support():
    found, support = common_shift(
        np.zeros((0, 2)), field(3), np.ones((0, 3)), width=3, max_shift=60
    )
    assert found.tolist() == [0, 0]
    assert np.isnan(support)


def test_shape_similarity_ignores_nothing_but_intensity():
    areas = np.array([300.0, 300.0])
    moments = np.array([[300 * 0.08, 300 * 0.08, 0.0], [300 * 0.2, 300 * 0.03, 0.0]])
    weights = shape_similarity(areas, moments, np.array([300.0, 900.0]), moments[[0, 0]])
    assert weights[0, 0] == pytest.approx(1)
    assert weights[0, 1] < 0.01  # three times the area
    assert weights[1, 0] < 0.05  # elongated against round
