"""What the structure of a background does to fits, told from places without a particle."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from operando.models.rim import fit_rims, kernel, stack_rims
from operando.models.warp import resample
from operando.streamer.core.register.templates import background_response, begin

SHAPE = (300, 320)
EVERYWHERE = np.ones(SHAPE, bool)


@pytest.fixture(scope="module")
def rim(draw):
    clean = draw([(29.5, 29.5)], [15.0], noise=0.0, shape=(60, 60))
    made = begin(clean.corrected.od, clean.detections.labels == 1).rim
    assert made is not None
    return made


def white(seed, sigma=0.05):
    return (0.3 + sigma * np.random.default_rng(seed).normal(size=SHAPE)).astype(np.float32)


def clouds(seed):
    structure = gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), 5)
    return (0.3 + 0.04 * structure / structure.std()).astype(np.float32)


def test_white_noise_moves_a_fit_as_the_propagation_of_errors_says(rim):
    weights = kernel(rim, slice(None))
    expected = 0.05 * np.sqrt((weights**2).sum(axis=1))
    found = [background_response(rim, white(seed), EVERYWHERE) for seed in range(8)]
    np.testing.assert_allclose(np.mean(found, axis=0), expected, rtol=0.12)


def test_it_is_proportional_to_the_structure_and_blind_to_a_plane(rim):
    y, x = np.indices(SHAPE)
    slope = (0.004 * y - 0.002 * x).astype(np.float32)
    once = background_response(rim, clouds(1), EVERYWHERE)
    np.testing.assert_allclose(background_response(rim, 2 * clouds(1), EVERYWHERE), 2 * once, 1e-4)
    np.testing.assert_allclose(
        background_response(rim, clouds(1) + slope, EVERYWHERE), once, rtol=0.02
    )
    assert np.all(background_response(rim, slope, EVERYWHERE) < 0.02 * once)


def test_it_is_the_error_of_fits_of_particles_that_lie_on_such_a_background(rim, draw):
    error, told = [], []
    for seed in range(3):
        background = clouds(seed)
        told.append(background_response(rim, background, EVERYWHERE))
        for n, centre in enumerate(np.random.default_rng(seed).integers(60, 240, (12, 2))):
            body = draw([centre], [15.0], noise=0.0, seed=n, shape=SHAPE).corrected.od
            pixels = torch.from_numpy(body + background)[None, None]
            fit = fit_rims(
                stack_rims([rim], torch.device("cpu")),
                centre[None].astype(float),
                lambda yx, pixels=pixels: resample(pixels, yx[None])[0, 0],
            )
            error.append(fit.yx[0] - centre)
    rms = np.sqrt(np.mean(np.square(error), axis=0))
    np.testing.assert_allclose(rms, np.sqrt(np.mean(np.square(told), axis=0)), rtol=0.4)


def test_particles_that_stand_around_are_not_taken_for_background(rim):
    free = EVERYWHERE.copy()
    od = white(3)
    rows = np.random.default_rng(0).integers(0, SHAPE[0] - 30, 12)
    for row, column in zip(rows, range(10, 300, 25), strict=False):
        free[row : row + 12, column : column + 12] = False
    disturbed = np.where(free, od, np.float32(5.0))
    told = background_response(rim, disturbed, free)
    np.testing.assert_allclose(told, background_response(rim, od, EVERYWHERE), rtol=0.3)
    # nor does the level of what is left matter
    np.testing.assert_allclose(background_response(rim, disturbed + 3, free), told, rtol=0.05)


def test_it_is_unknown_where_hardly_any_place_is_free(rim):
    free = np.zeros(SHAPE, bool)
    free[:60, :60] = True
    assert np.isnan(background_response(rim, white(0), free)).all()


@pytest.mark.parametrize("shape", [(40, 320), (300, 40), (20, 20)], ids=str)
def test_it_is_unknown_in_a_frame_that_does_not_hold_the_rim(rim, shape):
    od = white(0)[: shape[0], : shape[1]]
    assert np.isnan(background_response(rim, od, np.ones(shape, bool))).all()
