"""The background under and between particles."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from ..arrays import Image
from ..masks import grow
from .pyramid import Level, gaussian, part, refined

_MIN_CELLS = 24

_QUANTILE = 0.3


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
        """Background at some rows and columns of a level with cells of `step` px (bilinear), OD."""
        if step > self.step:
            return self._coarse(step)[rows, columns]
        return part(self.value, self.step // step, rows, columns)

    def over(self, level: Level) -> Image:
        """Background on the whole grid of a level, OD."""
        return refined(self.value, self.step // level.step)

    def _coarse(self, step: int) -> Image:
        """Background on the grid of a level that is coarser than its own, OD."""
        factor = step // self.step
        height, width = (n // factor for n in self.value.shape)
        # Bilinear at the centre of a cell is the mean of the four cells around it.
        middle = self.value.reshape(height, factor, width, factor)
        near = slice(factor // 2 - 1, factor // 2 + 1)
        return middle[:, near, :, near].mean((1, 3))


def estimate(level: Level, scale_px: float) -> CoarseBackground | None:
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
        surface = surface + _fill(rest, inlier, factor * scale_px / level.step)
        inlier = _without_particles(level.value - surface, valid)
    return CoarseBackground(value=surface.astype(np.float32), step=level.step)


@lru_cache(maxsize=8)
def _basis(shape: tuple[int, ...]) -> NDArray[np.float64]:
    y, x = (np.linspace(-1, 1, n) for n in shape)
    yy, xx = np.meshgrid(y, x, indexing="ij")
    return np.stack([np.ones_like(yy), yy, xx, yy * yy, xx * xx, yy * xx])


def _surface(
    value: Image, valid: NDArray[np.bool_], basis: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
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


def _solve(
    a: NDArray[np.float64], b: NDArray[np.float64], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weighted least squares with the rows of `a`, (m, n), hardly regularised."""
    left = torch.from_numpy(a * weight)
    square = (left @ torch.from_numpy(a).T).numpy()
    square.flat[:: len(a) + 1] += 1e-6 * square.trace() / len(a)
    right = (left @ torch.from_numpy(b)).numpy()
    return np.asarray(np.linalg.solve(square, right), np.float64)


def _without_particles(rest: NDArray[np.floating], valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Cells that do not stand out from the lower half of the residuals, nor touch such cells."""
    values = np.sort(rest[valid])
    low, middle = values[int(0.05 * len(values))], values[int(0.35 * len(values))]
    limit = middle + 1.5 * (middle - low)
    return valid & ~grow(valid & (rest > limit))


def _fill(rest: Image, inlier: NDArray[np.bool_], sigma: float) -> Image:
    """Smooth map of the inliers; goes to zero far away from any."""
    weight = gaussian(inlier.astype(np.float32), sigma, 3, "constant")
    total = gaussian(rest, sigma, 3, "constant")
    return np.asarray(total / (weight + 0.02), np.float32)
