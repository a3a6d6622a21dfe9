"""Resolutions of a frame, and the background under and between its particles.

Masked image pyramids are the dense part of the detector, batched over frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, gaussian_filter1d
from torch.nn.functional import interpolate, pad

from ..arrays import Array, Image, Mask
from ..masks import grow

Mode = Literal["reflect", "constant"]
USABLE = 0.5  # valid share from which a cell counts: most of it is known
_LEAST = 0.1  # and from which it has a value; by eye
_LARGE = 160  # side of images, in units of sigma, from which the filter is faster (measured)
_MIN_CELLS = 24  # four for each of the six coefficients of a surface of second order; by eye
_QUANTILE = 0.3  # of the density that the surface follows: particles may cover two thirds; by eye


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One frame at one resolution; smoothed but for the finest, which is as it came.

    Attributes
    ----------
    value : (h, w) float32, OD averaged over the valid pixels around; 0 where there are none.
    weight : (h, w) float32, valid share of the surroundings, 0..1; shared between frames.
    step : px per cell; cell (i, j) is centred on the pixel ``(i + 0.5) * step - 0.5``.
    """

    value: Image
    weight: Image
    step: int

    @property
    def valid(self) -> Mask:
        """Return the cells (h, w) that mostly consist of valid pixels."""
        return self.weight > USABLE


@dataclass(frozen=True, slots=True)
class _LevelWeights:
    """Valid share of the cells of a level, for each frame, and the factors that undo it."""

    share: list[Image]
    scale: torch.Tensor
    full: bool


class Pyramids:
    """Halve and smooth frames, by normalised convolution over their valid pixels.

    The weights depend on what is valid alone, which most frames have in common with the one before:
    they are kept.

    Parameters
    ----------
    n_levels : how many resolutions; frames are padded to a multiple of ``2**(n_levels - 1)``.
    """

    def __init__(self, n_levels: int) -> None:
        self._n_levels = n_levels
        self._last: tuple[torch.Tensor, list[_LevelWeights]] | None = None

    def __call__(self, od: torch.Tensor, valid: torch.Tensor) -> list[list[Level]]:
        """Return the levels of each frame, the finest first; the others are blurred by one cell.

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
            for frame, v, w in zip(levels, value[:, 0].cpu(), weights.share, strict=True):
                frame.append(Level(value=v.numpy(), weight=w, step=2**k))
        return levels

    def _padded(self, images: torch.Tensor) -> torch.Tensor:
        side = 2 ** (self._n_levels - 1)
        height, width = images.shape[-2:]
        amount = (0, -width % side, 0, -height % side)
        return pad(images, amount) if any(amount) else images

    def _weights(self, valid: torch.Tensor, dtype: torch.dtype) -> list[_LevelWeights]:
        last = self._last
        if last is not None and last[0].shape == valid.shape and torch.equal(last[0], valid):
            return last[1]
        share = self._padded(valid.to(dtype))
        full = bool(valid.all())
        found = [_LevelWeights([w.numpy() for w in share[:, 0].cpu()], share, full)]
        for _ in range(1, self._n_levels):
            share = _halve(share)
            weight = blur(share, 1.0)
            scale = weight.clamp_min(1e-3).reciprocal_().masked_fill_(weight < _LEAST, 0.0)
            found.append(_LevelWeights([w.numpy() for w in weight[:, 0].cpu()], scale, full))
        self._last = (valid.clone(), found)
        return found


def _halve(images: torch.Tensor) -> torch.Tensor:
    """Average over 2 x 2 cells; several times faster than a pooling layer."""
    rows = images[..., ::2, :] + images[..., 1::2, :]
    return (rows[..., ::2] + rows[..., 1::2]).mul_(0.25)


def blur(images: torch.Tensor, sigma: float) -> torch.Tensor:
    """Blur (B, C, H, W) by a Gaussian; nothing is beyond the rim.

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


# Smoothing and interpolation. On windows and coarse grids a product of matrices is several times
# faster than a general filter.


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


def refined(value: Image, factor: int) -> Image:
    """Interpolate (bilinear) to cells a whole number of times as fine, (h * factor, w * factor).

    Cell 0 of both begins at the same place; beyond the rim the outermost value holds.
    """
    if factor == 1:
        return value
    coarse = torch.from_numpy(np.ascontiguousarray(value))[None, None]
    return interpolate(coarse, scale_factor=factor, mode="bilinear")[0, 0].numpy()


def refined_part(value: Image, factor: int, rows: slice, columns: slice) -> Image:
    """Compute some rows and columns of `refined` without the rest."""
    down, high = _bilinear(value.shape[0], factor, rows)
    across, wide = _bilinear(value.shape[1], factor, columns)
    # Torch, as its threads are bounded by the processor; those of NumPy's products are not.
    return (down @ torch.from_numpy(value[high, wide]) @ across.T).numpy()


def _bilinear(size: int, factor: int, cells: slice) -> tuple[torch.Tensor, slice]:
    """Return weights of coarse cells in some of the fine ones, and which coarse ones these are."""
    first = max(0, (cells.start - factor // 2) // factor)
    last = min(size, (cells.stop - 1 + factor - factor // 2) // factor + 1)
    return _all_bilinear(size, factor)[cells, first:last], slice(first, last)


@lru_cache(maxsize=64)
def _all_bilinear(size: int, factor: int) -> torch.Tensor:
    place = ((np.arange(size * factor) + 0.5) / factor - 0.5).clip(0, size - 1)
    out = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(size)))
    return torch.from_numpy(out.astype(np.float32))


# The background that particles are denser than.


@dataclass(frozen=True, slots=True, kw_only=True)
class CoarseBackground:
    """Background of one frame on a coarse grid.

    Attributes
    ----------
    value : (h, w) float32, OD.
    step : px per cell.
    """

    value: Image
    step: int

    def at(self, rows: slice, columns: slice, step: int) -> Image:
        """Interpolate at some rows and columns of a level with cells of `step` px, OD."""
        if step <= self.step:
            return refined_part(self.value, self.step // step, rows, columns)
        # Bilinear at the centre of a cell is the mean of the four cells around it.
        factor = step // self.step
        height, width = (n // factor for n in self.value.shape)
        middle = self.value.reshape(height, factor, width, factor)
        near = slice(factor // 2 - 1, factor // 2 + 1)
        return middle[:, near, :, near].mean((1, 3))[rows, columns]


def estimate_background(level: Level, scale_px: float) -> CoarseBackground | None:
    """Estimate a background that particles, which are denser than it, do not pull up.

    A surface of second order is fitted to a low quantile (iteratively re-weighted), so that it
    cannot follow large particles; then cells that stand out are left out, and a map that varies on
    `scale_px` is filled in across them by normalised convolution.

    Parameters
    ----------
    level : a coarse level.
    scale_px : scale on which the background varies, px.

    Returns
    -------
    None if hardly a cell is valid.
    """
    valid = level.valid
    if np.count_nonzero(valid) < _MIN_CELLS:
        return None
    basis = _basis(valid.shape)
    surface, inlier = _surface(level.value, valid, basis)
    for factor in (3.0, 1.0):
        rest = np.where(inlier, level.value - surface, 0).astype(np.float32)
        sigma = factor * scale_px / level.step
        weight = gaussian(inlier.astype(np.float32), sigma, 3, "constant")
        surface = surface + gaussian(rest, sigma, 3, "constant") / (weight + 0.02)  # 0 far from any
        inlier = _without_particles(level.value - surface, valid)
    return CoarseBackground(value=surface.astype(np.float32), step=level.step)


@lru_cache(maxsize=8)
def _basis(shape: tuple[int, ...]) -> Array:
    y, x = (np.linspace(-1, 1, n) for n in shape)
    yy, xx = np.meshgrid(y, x, indexing="ij")
    return np.stack([np.ones_like(yy), yy, xx, yy * yy, xx * xx, yy * xx])


def _surface(value: Image, valid: Mask, basis: Array) -> tuple[Array, Mask]:
    a, b = basis[:, valid], value[valid].astype(np.float64)
    weight = np.ones(len(b))
    coef = np.zeros(len(a))
    for _ in range(12):
        coef = _solve(a, b, weight)
        rest = b - (torch.from_numpy(coef) @ torch.from_numpy(a)).numpy()
        size = np.abs(rest)
        floor = max(0.1 * float(np.partition(size, len(size) // 2)[len(size) // 2]), 1e-6)
        weight = np.where(rest > 0, _QUANTILE, 1 - _QUANTILE) / np.maximum(size, floor)
    surface = np.tensordot(coef, basis, 1)
    inlier = _without_particles(value - surface, valid)
    if np.count_nonzero(inlier) >= _MIN_CELLS:
        b = value[inlier].astype(np.float64)
        surface = np.tensordot(_solve(basis[:, inlier], b, np.ones(len(b))), basis, 1)
        inlier = _without_particles(value - surface, valid)
    return surface, inlier


def _solve(a: Array, b: Array, weight: Array) -> Array:
    """Solve weighted least squares with the rows of `a`, (m, n), hardly regularised."""
    left = torch.from_numpy(a * weight)
    square = (left @ torch.from_numpy(a).T).numpy()
    square.flat[:: len(a) + 1] += 1e-6 * square.trace() / len(a)
    right = (left @ torch.from_numpy(b)).numpy()
    return np.asarray(np.linalg.solve(square, right), np.float64)


def _without_particles(rest: Array, valid: Mask) -> Mask:
    """Keep cells that do not stand out from the lower half of residuals, nor touch such cells."""
    values = np.sort(rest[valid])
    low, middle = values[int(0.05 * len(values))], values[int(0.35 * len(values))]
    limit = middle + 1.5 * (middle - low)
    return valid & ~grow(valid & (rest > limit))
