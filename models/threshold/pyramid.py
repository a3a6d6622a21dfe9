"""Masked image pyramids: the dense part of a detector, batched over frames."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d
from torch.nn.functional import interpolate, pad

from ..arrays import Image

USABLE = 0.5  # valid share from which a cell counts
_LEAST = 0.1  # and from which it has a value
Mode = Literal["reflect", "constant"]
_LARGE = 160  # side of images, in units of sigma, from which the filter is faster


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One frame at one resolution; smoothed but for the finest, which is as it came.

    Attributes
    ----------
    value : (h, w) float32, OD averaged over the valid pixels around; 0 where there are none.
    weight : (h, w) float32, valid share of the surroundings, 0..1; shared between frames.
    step : px per cell; cell (i, j) is centred on the pixel ``(i + 0.5) * step - 0.5``.
    """

    value: NDArray[np.float32]
    weight: NDArray[np.float32]
    step: int

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Cells that mostly consist of valid pixels, (h, w)."""
        return self.weight > USABLE


class Pyramids:
    """Halves and smooths frames, by normalised convolution over their valid pixels.

    The weights depend on what is valid alone, which most frames have in common with the one before:
    they are kept.

    Parameters
    ----------
    n_levels : how many resolutions; frames are padded to a multiple of ``2**(n_levels - 1)``.
    """

    def __init__(self, n_levels: int) -> None:
        self._n_levels = n_levels
        self._last: tuple[torch.Tensor, list[_Weights]] | None = None

    def __call__(self, od: torch.Tensor, valid: torch.Tensor) -> list[list[Level]]:
        """Levels of each frame, the finest first; the others have a Gaussian blur of one cell.

        Parameters
        ----------
        od, valid : (B, 1, H, W) float32 and bool.
        """
        known = self._weights(valid, od.dtype)
        total = self._padded(od if known[0].full else torch.where(valid, od, od.new_zeros(())))
        levels: list[list[Level]] = [[] for _ in range(od.shape[0])]
        for k, weights in enumerate(known):
            if k:
                total = _halve(total)
            value = blur(total, 1.0).mul_(weights.scale) if k else total
            for frame, v, w in zip(levels, value[:, 0].cpu(), weights.weight, strict=True):
                frame.append(Level(value=v.numpy(), weight=w, step=2**k))
        return levels

    def _padded(self, images: torch.Tensor) -> torch.Tensor:
        side = 2 ** (self._n_levels - 1)
        height, width = images.shape[-2:]
        amount = (0, -width % side, 0, -height % side)
        return pad(images, amount) if any(amount) else images

    def _weights(self, valid: torch.Tensor, dtype: torch.dtype) -> list[_Weights]:
        last = self._last
        if last is not None and last[0].shape == valid.shape and torch.equal(last[0], valid):
            return last[1]
        share = self._padded(valid.to(dtype))
        found = [_Weights(share, share, full=bool(valid.all()))]
        for _ in range(1, self._n_levels):
            share = _halve(share)
            weight = blur(share, 1.0)
            scale = weight.clamp_min(1e-3).reciprocal_().masked_fill_(weight < _LEAST, 0.0)
            found.append(_Weights(weight, scale))
        self._last = (valid.clone(), found)
        return found


class _Weights:
    """Weights of the cells of a level, for each frame, and the factors that undo them."""

    __slots__ = ("full", "scale", "weight")

    def __init__(self, weight: torch.Tensor, scale: torch.Tensor, full: bool = False) -> None:
        self.full = full
        self.weight: list[NDArray[np.float32]] = [w.numpy() for w in weight[:, 0].cpu()]
        self.scale = scale


def _halve(images: torch.Tensor) -> torch.Tensor:
    """Mean over 2 x 2 cells; several times faster than a pooling layer."""
    rows = images[..., ::2, :] + images[..., 1::2, :]
    return (rows[..., ::2] + rows[..., 1::2]).mul_(0.25)


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


# Gaussian smoothing of small images by products of matrices.
#
# On windows and coarse grids a matrix product is several times faster than a general filter.


def gaussian(images: Image, sigma: float, truncate: float, mode: Mode = "reflect") -> Image:
    """Smooth images by a Gaussian.

    Parameters
    ----------
    images : (..., h, w) float32.
    sigma : width, cells.
    truncate : where the Gaussian ends, in units of `sigma`.
    mode : what is beyond the rim, as in `scipy.ndimage.gaussian_filter`.

    Returns
    -------
    (..., h, w) float32.
    """
    height, width = images.shape[-2:]
    if max(height, width) > _LARGE * sigma:
        out = gaussian_filter(images, sigma, mode=mode, truncate=truncate, axes=(-2, -1))
        return np.asarray(out, np.float32)
    down = _matrix(height, sigma, truncate, mode)
    across = _matrix(width, sigma, truncate, mode).T
    # Torch, as its threads are bounded by the processor; those of NumPy's products are not.
    return (down @ (torch.from_numpy(images) @ across)).numpy()


@lru_cache(maxsize=256)
def _matrix(size: int, sigma: float, truncate: float, mode: Mode) -> torch.Tensor:
    unit = np.eye(size, dtype=np.float64)
    out = gaussian_filter1d(unit, sigma, axis=0, mode=mode, truncate=truncate)
    return torch.from_numpy(out.astype(np.float32))


# Values of a coarse grid on a finer one.


def refined(value: Image, factor: int) -> Image:
    """Bilinear interpolation to cells a whole number of times as fine, (h * factor, w * factor).

    Cell 0 of both begins at the same place; beyond the rim the outermost value holds.
    """
    if factor == 1:
        return value
    coarse = torch.from_numpy(np.ascontiguousarray(value))[None, None]
    return interpolate(coarse, scale_factor=factor, mode="bilinear")[0, 0].numpy()


def part(value: Image, factor: int, rows: slice, columns: slice) -> Image:
    """What some rows and columns of `refined` are, without the rest."""
    down, high = _weights(value.shape[0], factor, rows)
    across, wide = _weights(value.shape[1], factor, columns)
    # Torch, as its threads are bounded by the processor; those of NumPy's products are not.
    return (down @ torch.from_numpy(value[high, wide]) @ across.T).numpy()


def _weights(size: int, factor: int, cells: slice) -> tuple[torch.Tensor, slice]:
    """Weights of coarse cells in some of the fine ones, and which coarse ones these are."""
    first = max(0, (cells.start - factor // 2) // factor)
    last = min(size, (cells.stop - 1 + factor - factor // 2) // factor + 1)
    return _all_weights(size, factor)[cells, first:last], slice(first, last)


@lru_cache(maxsize=64)
def _all_weights(size: int, factor: int) -> torch.Tensor:
    place = ((np.arange(size * factor) + 0.5) / factor - 0.5).clip(0, size - 1)
    out = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(size)))
    return torch.from_numpy(out.astype(np.float32))
