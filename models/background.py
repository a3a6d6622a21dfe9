"""The background under and between particles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from .grids import interpolate
from .masks import grow
from .pyramid import Level

Map = NDArray[np.float32]
_MIN_CELLS = 24
_QUANTILE = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """Background of one frame on a coarse grid.

    Attributes
    ----------
    value : (h, w) float32, OD.
    step : px per cell.
    """

    value: Map
    step: int

    def at(self, rows: NDArray[np.intp], columns: NDArray[np.intp], step: int) -> Map:
        """Background at some rows and columns of a level with cells of `step` px (bilinear), OD."""
        return interpolate(self.value, rows, columns, step / self.step)

    def over(self, level: Level) -> Map:
        """Background on the whole grid of a level, OD."""
        rows, columns = (np.arange(n) for n in level.value.shape)
        return self.at(rows, columns, level.step)


def estimate(level: Level, scale_px: float) -> Background | None:
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
    return Background(value=surface.astype(np.float32), step=level.step)


def _basis(shape: tuple[int, ...]) -> NDArray[np.float64]:
    y, x = (np.linspace(-1, 1, n) for n in shape)
    yy, xx = np.meshgrid(y, x, indexing="ij")
    return np.stack([np.ones_like(yy), yy, xx, yy * yy, xx * xx, yy * xx], -1)


def _surface(
    value: Map, valid: NDArray[np.bool_], basis: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    a, b = basis[valid], value[valid].astype(np.float64)
    weight = np.ones(len(b))
    coef = np.zeros(a.shape[1])
    for _ in range(12):
        coef = _solve(a, b, weight)
        rest = b - a @ coef
        floor = max(np.median(np.abs(rest)) * 0.1, 1e-6)
        weight = np.where(rest > 0, _QUANTILE, 1 - _QUANTILE) / np.maximum(np.abs(rest), floor)
    inlier = _without_particles(value - basis @ coef, valid)
    if np.count_nonzero(inlier) >= _MIN_CELLS:
        coef = _solve(basis[inlier], value[inlier].astype(np.float64), np.ones(inlier.sum()))
        inlier = _without_particles(value - basis @ coef, valid)
    return basis @ coef, inlier


def _solve(
    a: NDArray[np.float64], b: NDArray[np.float64], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    left = a.T * weight
    ridge = 1e-6 * np.trace(left @ a) / len(left)
    return np.linalg.solve(left @ a + ridge * np.eye(len(left)), left @ b)


def _without_particles(rest: NDArray[np.floating], valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Cells that do not stand out from the lower half of the residuals, nor touch such cells."""
    values = np.sort(rest[valid])
    low, middle = values[int(0.05 * len(values))], values[int(0.35 * len(values))]
    limit = middle + 1.5 * (middle - low)
    return valid & ~grow(valid & (rest > limit))


def _fill(rest: Map, inlier: NDArray[np.bool_], sigma: float) -> Map:
    """Smooth map of the inliers; goes to zero far away from any."""
    weight = gaussian_filter(inlier.astype(np.float32), sigma, mode="constant", truncate=3)
    total = gaussian_filter(rest, sigma, mode="constant", truncate=3)
    return np.asarray(total / (weight + 0.02), np.float32)
