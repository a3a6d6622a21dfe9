"""The raw frame has the last word: rims are confirmed, clouds and inventions are not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from operando.models.networks.confirm import Rims, confidence, rims
from operando.models.networks.contours import Contours
from operando.models.settings import DetectSettings

SETTINGS = DetectSettings()
SHAPE = (300, 320)


def noise(seed: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def sphere(diameter: float, centre: tuple[float, float] = (150.3, 160.6)) -> np.ndarray:
    """Mean density 1 inside."""
    y, x = np.indices(SHAPE)
    rho = np.hypot(y - centre[0], x - centre[1]) / (diameter / 2)
    return 1.5 * np.sqrt(np.clip(1 - rho**2, 0, None)).astype(np.float32)


def blob(sigma: float) -> np.ndarray:
    y, x = np.indices(SHAPE)
    return np.exp(-0.5 * ((y - 150) ** 2 + (x - 160) ** 2) / sigma**2).astype(np.float32)


def nobody(contours: Contours) -> np.ndarray:
    return np.zeros(contours.share.shape, bool)


def judge(contours: Contours, hidden: np.ndarray | None = None) -> tuple[Rims, np.ndarray]:
    found = rims(contours, nobody(contours) if hidden is None else hidden)
    return found, confidence(contours, found, SETTINGS.networks.min_rim)


@pytest.mark.parametrize("diameter", [16.0, 24.0, 40.0, 90.0, 250.0])
@pytest.mark.parametrize("contrast", [0.05, 0.3, 1.0])
def test_a_clear_particle_of_any_size_is_beyond_doubt(
    traced: Callable, diameter: float, contrast: float
) -> None:
    image = gaussian_filter(contrast * sphere(diameter), 1.0) + 0.01 * noise(1)
    found, score = judge(traced(image, [(150.3, 160.6, diameter)]))
    assert score[0] > 0.9
    assert found.closed[0] == 1
    assert found.known[0] == 1
    assert found.contrast[0] == pytest.approx(0.75 * contrast, rel=0.3)


@pytest.mark.parametrize("seed", range(5))
def test_a_faint_rim_is_confirmed(traced: Callable, seed: int) -> None:
    image = 0.05 * (gaussian_filter(sphere(40.0), 1.0) + noise(seed))
    _, score = judge(traced(image, [(150.0, 161.0, 40.0)]))
    assert score[0] > 0.5, "a particle whose density is that of the noise of one pixel"


@pytest.mark.parametrize("diameter", [16.0, 40.0, 120.0])
def test_what_was_invented_on_noise_is_refused(traced: Callable, diameter: float) -> None:
    places = [(y, x, diameter) for y in np.linspace(80, 220, 4) for x in np.linspace(80, 240, 5)]
    for seed in range(3):
        _, score = judge(traced(0.05 * noise(seed), places))
        assert score.max() < SETTINGS.min_score


@pytest.mark.parametrize("sigma", [10.0, 20.0, 40.0])
@pytest.mark.parametrize("part", [0.9, 1.18, 1.5])
def test_a_cloud_is_refused_wherever_it_is_cut(traced: Callable, sigma: float, part: float) -> None:
    image = 0.3 * blob(sigma) + 0.01 * noise(2)
    found, score = judge(traced(image, [(150.0, 160.0, 2 * part * sigma)]))
    assert found.t[0] > 10, "it does fall from inside to outside"
    assert score[0] < SETTINGS.min_score


def test_a_hollow_and_an_edge_are_refused(traced: Callable) -> None:
    hollow = gaussian_filter(-0.3 * sphere(40.0), 1.0) + 0.01 * noise(3)
    edge = np.where(np.indices(SHAPE)[1] < 160, 0.5, 0.0).astype(np.float32) + 0.01 * noise(4)
    for image in (hollow, edge):
        _, score = judge(traced(image.astype(np.float32), [(150.3, 160.6, 40.0)]))
        assert score[0] < SETTINGS.min_score


def test_touching_particles_are_both_confirmed(traced: Callable) -> None:
    pair = [(150.0, 130.0, 60.0), (150.0, 181.0, 40.0)]
    image = sum(0.4 * sphere(d, (y, x)) for y, x, d in pair)
    contours = traced(gaussian_filter(image, 1.0) + 0.02 * noise(5), pair)
    other = traced(image, pair[::-1], windows=pair).share > 0.5
    found, score = judge(contours, other)
    assert (score > 0.5).all()
    assert (found.known < 1).all(), "where they touch, there is nothing to compare with"


def test_hidden_and_invalid_cells_do_not_count(traced: Callable) -> None:
    image = 0.4 * sphere(60.0) + 0.01 * noise(6)
    valid = np.indices(SHAPE)[1] < 175
    plain, _ = judge(traced(image, [(150.3, 160.6, 60.0)], valid))
    wild = np.where(valid, image, 50.0).astype(np.float32)
    found, score = judge(traced(wild, [(150.3, 160.6, 60.0)], valid))
    assert found.contrast[0] == pytest.approx(plain.contrast[0], abs=0.02)
    assert found.known[0] < 0.8
    assert score[0] > 0.5


def test_who_is_beside_does_not_matter(traced: Callable) -> None:
    image = gaussian_filter(0.4 * sphere(60.0), 1.0) + 0.01 * noise(7)
    places = [(150.3, 160.6, 60.0), (60.0, 60.0, 30.0), (240.0, 80.0, 90.0)]
    together, _ = judge(traced(image, places))
    for i, place in enumerate(places):
        alone, _ = judge(traced(image, [place]))
        assert alone.t[0] == together.t[i]
        assert alone.sharpness[0] == together.sharpness[i]
