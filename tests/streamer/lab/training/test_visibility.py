import numpy as np
import pytest

from operando.streamer.lab.training.scenes import visibility


def one(contrast, radius, noise, structure):
    made = visibility(np.array([contrast]), np.array([radius]), np.array([noise]), structure)
    return float(made[0])


FLAT = np.zeros((128, 128), np.float32)


def test_counting_noise_averages_over_the_particle():
    assert one(0.1, 10.0, 0.1, FLAT) == pytest.approx(np.sqrt(np.pi * 100 / 2), rel=0.01)
    assert one(0.1, 20.0, 0.1, FLAT) == pytest.approx(2 * one(0.1, 10.0, 0.1, FLAT), rel=0.01)


def test_structure_of_the_size_of_the_particle_hides_it():
    y, x = np.indices(FLAT.shape)
    coarse, fine = (
        (0.1 * np.sin(2 * np.pi * x / period) * np.sin(2 * np.pi * y / period)).astype(np.float32)
        for period in (48.0, 4.0)
    )
    assert one(0.1, 12.0, 1e-4, coarse) < 4
    assert one(0.1, 12.0, 1e-4, fine) > 10 * one(0.1, 12.0, 1e-4, coarse)


def test_a_base_level_hides_nothing():
    assert one(0.1, 10.0, 0.1, FLAT + 1) == pytest.approx(one(0.1, 10.0, 0.1, FLAT), rel=1e-3)


def test_no_particles():
    assert visibility(np.zeros(0), np.zeros(0), np.zeros(0), FLAT).shape == (0,)
