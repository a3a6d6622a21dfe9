"""Small images of frames as they came."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from operando.streamer.core.register.images import LONGEST_PX, binning, unaligned, unaligned_shape


@pytest.mark.parametrize("shape", [(64, 64), (460, 460), (300, 1025), (2048, 2048), (1, 5000)])
def test_the_shape_is_known_before_the_image(shape):
    image = torch.rand(1, 1, *shape)
    small = unaligned(image)
    assert small.shape == unaligned_shape(shape)
    assert small.dtype == np.float32
    assert max(small.shape) <= LONGEST_PX


def test_a_pixel_is_the_mean_of_its_square_and_unknown_if_one_of_them_is():
    image = torch.arange(512.0 * 512).reshape(1, 1, 512, 512)
    image[0, 0, 10, 21] = torch.nan
    small = unaligned(image)
    assert binning((512, 512)) == 2
    assert small[3, 4] == pytest.approx(image[0, 0, 6:8, 8:10].mean().item())
    assert np.isnan(small[5, 10])
    assert np.isnan(small).sum() == 1
