"""The common shift of known masks, from the image alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from operando.streamer.core.link.masks import PlacedMask
from operando.streamer.core.link.shift import estimate_jump

SHAPE = (300, 400)
PLACES = np.array([[60.0, 80.0], [150.0, 310.0], [220.0, 120.0], [90.0, 200.0], [250.0, 340.0]])
RADII = (14, 22, 30, 18, 25)


def disc(yx, radius):
    y, x = np.indices(SHAPE)
    return np.hypot(y - yx[0], x - yx[1]) <= radius


def placed(yx, radius):
    mask = np.hypot(*(np.indices((2 * radius + 3,) * 2) - radius - 1)) <= radius
    return PlacedMask(mask=mask, mask_yx=np.full(2, radius + 1.0), yx=np.asarray(yx))


MASKS = [placed(yx, r) for yx, r in zip(PLACES, RADII, strict=True)]


def image(shift, contrast=0.6, noise=0.1, seed=0):
    """Discs on an uneven background with noise."""
    rng = np.random.default_rng(seed)
    od = 0.5 * gaussian_filter(rng.normal(size=SHAPE), 60) / 0.005
    for yx, radius in zip(PLACES, RADII, strict=True):
        od = od + contrast * disc(yx + shift, radius)
    return (od + rng.normal(0, noise, SHAPE)).astype(np.float32)


@pytest.mark.parametrize("shift", [(0, 0), (1.5, -2.5), (-17, 9), (24, 22)])
def test_the_shift_is_found_to_a_pixel(shift):
    found, likeness = estimate_jump(image(shift), np.ones(SHAPE, bool), MASKS)
    np.testing.assert_allclose(found, shift, atol=1.0)
    assert likeness > 0.4


def test_invalid_pixels_and_what_is_in_them_do_not_matter():
    od, valid = image((12, -7)), np.ones(SHAPE, bool)
    valid[:, 180:230] = False
    od[~valid] = 50.0
    found, _ = estimate_jump(od, valid, MASKS)
    np.testing.assert_allclose(found, (12, -7), atol=1.0)


def test_noise_alone_is_no_shift():
    found, likeness = estimate_jump(image((15, 15), contrast=0.0), np.ones(SHAPE, bool), MASKS)
    assert found.tolist() == [0, 0]
    assert likeness < 0.3


def test_without_masks_or_without_an_image():
    found, likeness = estimate_jump(image((0, 0)), np.ones(SHAPE, bool), [])
    assert found.tolist() == [0, 0]
    assert np.isnan(likeness)
    found, _ = estimate_jump(image((0, 0)), np.zeros(SHAPE, bool), MASKS)
    assert found.tolist() == [0, 0]


def test_masks_that_have_left_the_frame_are_left_out():
    gone = placed((-40.0, 900.0), 20)
    found, _ = estimate_jump(image((6, -11)), np.ones(SHAPE, bool), [*MASKS, gone])
    np.testing.assert_allclose(found, (6, -11), atol=1.0)
