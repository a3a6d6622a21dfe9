"""Masked image pyramids: the dense part of a detector, batched over frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import pad

USABLE = 0.5  # valid share from which a cell counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One frame at one resolution; smoothed but for the finest, which is as it came.

    Attributes
    ----------
    value : (h, w) float32, OD averaged over the valid pixels around; 0 where there are none.
    weight : (h, w) float32, valid share of the surroundings, 0..1.
    step : px per cell; cell (i, j) is centred on the pixel ``(i + 0.5) * step - 0.5``.
    """

    value: NDArray[np.float32]
    weight: NDArray[np.float32]
    step: int

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Cells that mostly consist of valid pixels, (h, w)."""
        return self.weight > USABLE


def pyramids(od: torch.Tensor, valid: torch.Tensor, n_levels: int) -> list[list[Level]]:
    """Halve and smooth frames, by normalised convolution over their valid pixels.

    Parameters
    ----------
    od, valid : (B, 1, H, W) float32 and bool.
    n_levels : how many resolutions; the frame is padded to a multiple of ``2**(n_levels - 1)``.

    Returns
    -------
    For each frame its levels, the finest first; the others are smoothed by a Gaussian of one cell.
    """
    side = 2 ** (n_levels - 1)
    height, width = od.shape[-2:]
    grow = (0, -width % side, 0, -height % side)
    share = pad(valid.to(od.dtype), grow)
    total = pad(torch.where(valid, od, od.new_zeros(())), grow)
    levels: list[list[Level]] = [[] for _ in range(od.shape[0])]
    _append(levels, total, share, 1)
    both = torch.cat([total, share], 1)
    for k in range(1, n_levels):
        both = _halve(both)
        smooth = blur(both, 1.0)
        weight = smooth[:, 1:]
        value = (smooth[:, :1] / weight.clamp_min(1e-3)).masked_fill_(weight < 0.1, 0.0)
        _append(levels, value, weight, 2**k)
    return levels


def _halve(images: torch.Tensor) -> torch.Tensor:
    """Mean over 2 x 2 cells; several times faster than a pooling layer."""
    rows = images[..., ::2, :] + images[..., 1::2, :]
    return (rows[..., ::2] + rows[..., 1::2]).mul_(0.25)


def _append(
    levels: list[list[Level]], value: torch.Tensor, weight: torch.Tensor, step: int
) -> None:
    for frame, v, w in zip(levels, value[:, 0].cpu(), weight[:, 0].cpu(), strict=True):
        frame.append(Level(value=v.numpy(), weight=w.numpy(), step=step))


def blur(images: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian blur of (B, C, H, W); nothing beyond the rim.

    Written as sums of shifted images: on small kernels faster than a convolution, and the result
    for a frame cannot depend on its batch.
    """
    radius = max(1, round(3 * sigma))
    taps = np.exp(-0.5 * (np.arange(radius + 1) / sigma) ** 2)
    taps /= 2 * taps.sum() - taps[0]
    for axis in (-2, -1):
        size = images.shape[axis]
        amount = (radius, radius) if axis == -1 else (0, 0, radius, radius)
        padded = pad(images, amount)
        images = padded.narrow(axis, radius, size) * float(taps[0])
        for i in range(1, radius + 1):
            both = padded.narrow(axis, radius - i, size) + padded.narrow(axis, radius + i, size)
            images.add_(both, alpha=float(taps[i]))
    return images
