from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from operando.models.ssim import ssim


def images(n=3, size=64, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.normal(0.5, 0.2, (n, 1, size, size)).astype(np.float32)
    b = (a + rng.normal(0, 0.1, a.shape)).astype(np.float32)
    return torch.from_numpy(a), torch.from_numpy(b)


def reference(a, b):
    return structural_similarity(
        a, b, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )


def test_equals_scikit_image():
    a, b = images()
    expected = [reference(a[i, 0].numpy(), b[i, 0].numpy()) for i in range(3)]
    np.testing.assert_allclose(ssim(a, b, 1.0).numpy(), expected, atol=2e-5)


def test_equal_images_have_one():
    a, _ = images()
    torch.testing.assert_close(ssim(a, a, 1.0), torch.ones(3))


def test_windows_with_invalid_pixels_do_not_count():
    a, b = images(n=1)
    spoiled = a.clone()
    spoiled[..., :20] = torch.nan
    expected = ssim(a[..., 20:], b[..., 20:], 1.0)
    torch.testing.assert_close(ssim(spoiled, b, 1.0), expected)


def test_nothing_valid_is_nan():
    a, b = images(n=2)
    a[0] = torch.nan
    result = ssim(a, b, 1.0)
    assert torch.isnan(result).tolist() == [True, False]


def test_large_images_are_averaged_first():
    a, b = images(n=1, size=512)
    half = [torch.nn.functional.avg_pool2d(x, 2) for x in (a, b)]
    assert ssim(a, b, 1.0).item() == pytest.approx(ssim(*half, 1.0).item(), abs=1e-6)
