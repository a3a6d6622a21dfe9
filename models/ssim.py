"""Structural similarity of pairs of images with invalid pixels, batched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

_RADIUS = 5  # px, and the window's sigma: as Wang et al. 2004 have it
_SIGMA = 1.5
_BLOCK = 32  # rows or columns smoothed by one product; by eye


@dataclass(frozen=True, slots=True)
class Smoothed:
    """Images with their local means: what SSIM needs of each of a pair, to be made once.

    Attributes
    ----------
    image : (B, 1, H, W) float32, 0 where invalid.
    mean, variance : (B, 1, H - 10, W - 10) float32, over the Gaussian window.
    whole : (B, 1, H - 10, W - 10) bool, windows whose pixels are all valid.
    """

    image: Tensor
    mean: Tensor
    variance: Tensor
    whole: Tensor

    def row(self, index: int) -> Smoothed:
        """Take one of the images, still a batch."""
        one = slice(index, index + 1)
        return Smoothed(self.image[one], self.mean[one], self.variance[one], self.whole[one])


def ssim(first: Tensor, second: Tensor, data_range: float) -> Tensor:
    """Compute the mean SSIM of each pair (Wang et al. 2004, doi 10.1109/TIP.2003.819861).

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
    return similarity(smooth(first), smooth(second), data_range)


def smooth(images: Tensor) -> Smoothed:
    """Average images over windows (B, 1, H, W), for `similarity`."""
    block = max(1, round(min(images.shape[-2:]) / 256))
    if block > 1:
        images = F.avg_pool2d(images, block)
    bad = images - images != 0  # NaN or infinite, at half the cost of isfinite
    image = images.masked_fill(bad, 0.0)
    mean, square = _means(torch.cat([image, image * image], dim=1)).split(1, dim=1)
    whole = ~bad  # a pixel and the next ten along both axes
    for axis in (2, 3):
        for step in (1, 2, 4, 3):  # 2, 4, 8, 11 pixels
            size = whole.shape[axis] - step
            whole = whole.narrow(axis, 0, size) & whole.narrow(axis, step, size)
    return Smoothed(image, mean, square.addcmul(mean, mean, value=-1), whole)


def joined(parts: Sequence[Smoothed]) -> Smoothed:
    """Join several batches of images of one size."""
    return Smoothed(
        torch.cat([p.image for p in parts]),
        torch.cat([p.mean for p in parts]),
        torch.cat([p.variance for p in parts]),
        torch.cat([p.whole for p in parts]),
    )


def similarity(first: Smoothed, second: Smoothed, data_range: float) -> Tensor:
    """Compute the mean SSIM of each pair, (B,) float32, as `ssim` does."""
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    covariance = _means(first.image * second.image)
    both = first.mean * second.mean
    index = covariance.sub_(both).mul_(2).add_(c2).mul_(both.mul_(2).add_(c1))
    power = torch.addcmul(second.mean * second.mean, first.mean, first.mean).add_(c1)
    index.div_(power.mul_((first.variance + second.variance).add_(c2)))
    whole = first.whole & second.whole
    count = whole.flatten(1).sum(1, dtype=torch.int32)
    total = index.mul_(whole).flatten(1).sum(1)
    return torch.where(count > 0, total / count.clamp(min=1), torch.full_like(total, torch.nan))


def _means(images: Tensor) -> Tensor:
    """Average over the Gaussian window, (..., H - 10, W - 10).

    A product with a band matrix is several times faster on a CPU than a depthwise convolution;
    block by block most of the zeros of that matrix are left out.
    """
    for axis in (-2, -1):
        last, parts = images.shape[axis] - 2 * _RADIUS, []
        for first in range(0, last, _BLOCK):
            count = min(_BLOCK, last - first)
            window = _window(count, images.dtype, images.device)
            block = images.narrow(axis, first, count + 2 * _RADIUS)
            parts.append(window @ block if axis == -2 else block @ window.T)
        images = torch.cat(parts, dim=axis)
    return images


@lru_cache(maxsize=64)
def _window(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Make the Gaussian window along one axis, a matrix (size, size + 10)."""
    offsets = torch.arange(-_RADIUS, _RADIUS + 1, dtype=dtype, device=device)
    kernel = torch.exp(-0.5 * (offsets / _SIGMA) ** 2)
    kernel = kernel / kernel.sum()
    matrix = torch.zeros((size, size + 2 * _RADIUS), dtype=dtype, device=device)
    for i, weight in enumerate(kernel):
        matrix.diagonal(i).fill_(weight)
    return matrix
