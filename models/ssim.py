"""Structural similarity of pairs of images with invalid pixels, batched."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_RADIUS = 5
_SIGMA = 1.5


def ssim(first: Tensor, second: Tensor, data_range: float) -> Tensor:
    """Mean SSIM of each pair (Wang et al. 2004, doi 10.1109/TIP.2003.819861).

    Standard constants: Gaussian window of 11 x 11 with sigma 1.5, K1 = 0.01, K2 = 0.03. A window
    counts if all its pixels are valid (finite) in both images.

    Parameters
    ----------
    first, second : (B, 1, H, W) float32; NaN marks invalid pixels; H, W >= 11. Images of more
        than 256 px are averaged over blocks first, as the authors suggest (block side: the
        smaller side over 256, rounded).
    data_range : range of the data, in the units of the images.

    Returns
    -------
    (B,) float32; NaN where no window is valid.
    """
    block = max(1, round(min(first.shape[-2:]) / 256))
    if block > 1:
        first, second = F.avg_pool2d(first, block), F.avg_pool2d(second, block)
    valid = torch.isfinite(first) & torch.isfinite(second)
    a = torch.where(valid, first, torch.zeros_like(first))
    b = torch.where(valid, second, torch.zeros_like(second))
    stack = torch.cat([a, b, a * a, b * b, a * b, (~valid).to(a.dtype)], dim=1)
    smooth = _window(a, a.shape[-2]) @ stack @ _window(a, a.shape[-1]).T
    mean_a, mean_b, square_a, square_b, product, invalid = smooth.split(1, dim=1)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    variance = square_a - mean_a**2 + square_b - mean_b**2
    covariance = product - mean_a * mean_b
    index = ((2 * mean_a * mean_b + c1) * (2 * covariance + c2)) / (
        (mean_a**2 + mean_b**2 + c1) * (variance + c2)
    )
    whole = invalid < 1e-6
    count = whole.sum(dim=(1, 2, 3))
    total = torch.where(whole, index, torch.zeros_like(index)).sum(dim=(1, 2, 3))
    return torch.where(count > 0, total / count.clamp(min=1), torch.full_like(total, torch.nan))


def _window(like: Tensor, size: int) -> Tensor:
    """The Gaussian window along one axis as a matrix (size - 10, size).

    A product with a band matrix is several times faster on a CPU than a depthwise convolution.
    """
    offsets = torch.arange(-_RADIUS, _RADIUS + 1, dtype=like.dtype, device=like.device)
    kernel = torch.exp(-0.5 * (offsets / _SIGMA) ** 2)
    kernel = kernel / kernel.sum()
    matrix = like.new_zeros((size - 2 * _RADIUS, size))
    for i, weight in enumerate(kernel):
        matrix.diagonal(i).fill_(weight)
    return matrix
