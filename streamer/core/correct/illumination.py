"""Estimate the illumination from the sample frames themselves while no flat is known.

The logarithm of the illumination is a low-order Chebyshev surface (a Gaussian beam is a quadratic)
fitted by asymmetric re-weighted least squares: blocks that lie below the surface are taken for
sample and lose their weight, as in asymmetric least squares baselines (Eilers & Boelens 2005,
*Baseline correction with asymmetric least squares smoothing*). What a block showed when nothing
covered it is remembered over frames, so that moving particles uncover the illumination.
Structure finer than the surface (the texture of the condenser) stays in the optical density: only
a flat can take it out.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from .state import IlluminationSums

# All by eye.
_ITERATIONS = 10  # of the re-weighted fit
_FLOOR = 1e-3  # of the bright level: darker blocks are not lit
_RIDGE = 1e-6  # of the summed weight: keeps coefficients finite that no block holds
_BLOCKS = 64  # along each side
_NOISE = (0.01, 0.15)  # range of the noise of a block, OD, over which weights fall


def observe(
    memory: IlluminationSums | None, coarse: NDArray[np.float32], order: int
) -> tuple[IlluminationSums, NDArray[np.float64], float]:
    """Take one frame into account.

    Parameters
    ----------
    coarse : (h, w) block means of (frame - dark), counts.
    order : total order of the surface.

    Returns
    -------
    memory : the updated sums.
    coefficients : (order + 1, order + 1), of ln (illumination / level).
    level : bright level of this frame that goes with them, counts.
    """
    frame_level = bright_level(coarse)
    logs = np.log(np.maximum(np.nan_to_num(coarse, nan=0.0), _FLOOR * frame_level) / frame_level)
    lit = (coarse > _FLOOR * frame_level).astype(np.float64)
    if memory is None or memory.weight.shape != coarse.shape:
        memory = IlluminationSums(weight=np.zeros(coarse.shape), total=np.zeros(coarse.shape))
    own = _weights(logs, _fit(logs, lit, order)[0]) * lit
    weight = memory.weight + own + 1e-3 * lit
    total = memory.total + (own + 1e-3 * lit) * logs
    merged = np.divide(total, weight, out=np.full_like(total, np.log(_FLOOR)), where=weight > 0)
    surface, coefficients = _fit(merged, np.minimum(weight, 1.0), order)
    difference = (logs - surface)[own > 0.5]
    offset = float(np.median(difference)) if difference.size else 0.0
    return (
        IlluminationSums(weight=weight, total=total),
        coefficients,
        frame_level * float(np.exp(offset)),
    )


def evaluate(
    coefficients: NDArray[np.float64],
    level: float,
    shape: tuple[int, int],
    blocks: tuple[int, int],
) -> NDArray[np.float32]:
    """Evaluate ln of the illumination, counts, at every pixel.

    Parameters
    ----------
    coefficients, level : from ``observe``.
    shape : (H, W) of the image.
    blocks : (h, w) of the block means that were observed.

    Returns
    -------
    (H, W) float32.
    """
    order = len(coefficients) - 1
    covered = [size // count * count for size, count in zip(shape, blocks, strict=True)]
    basis_y, basis_x = _axis(shape[0], order, covered[0]), _axis(shape[1], order, covered[1])
    surface = np.asarray(basis_y @ coefficients.astype(np.float32) @ basis_x.T, np.float32)
    # A polynomial may run away in corners where nothing held it.
    np.clip(surface, np.log(_FLOOR), 1.0, out=surface)
    surface += np.float32(np.log(level))
    return surface


def _weights(logs: NDArray[np.float64], surface: NDArray[np.float64]) -> NDArray[np.float64]:
    residual = logs - surface
    above = residual[residual > 0]
    noise = float(np.median(above)) / 0.6745 if above.size else 0.0
    noise = float(np.clip(noise, *_NOISE))
    scaled = residual / (2.0 * noise)
    square = scaled * scaled
    return 1 / (1 + np.where(scaled < 0, square * square, square / 4))


def _fit(
    logs: NDArray[np.float64], prior: NDArray[np.float64], order: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit the surface; its order grows with the iterations, lest it dive into particles."""
    coefficients = np.zeros((order + 1, order + 1))
    surface = np.full(logs.shape, float(np.percentile(logs, 90)))
    weight = prior * np.exp(np.clip(logs, -3, 0))
    for step in range(_ITERATIONS):
        current = min(order, 2 + step // 2)
        design, pairs = _design(logs.shape, current)
        weighted = design * weight.reshape(-1, 1)
        normal = weighted.T @ design + _RIDGE * weight.sum() * np.eye(len(pairs))
        solution = np.linalg.solve(normal, weighted.T @ logs.reshape(-1))
        surface = (design @ solution).reshape(logs.shape)
        coefficients = np.zeros((order + 1, order + 1))
        for (i, j), value in zip(pairs, solution, strict=True):
            coefficients[i, j] = value
        weight = prior * _weights(logs, surface)
    return surface, coefficients


@lru_cache(maxsize=16)
def _design(
    shape: tuple[int, int], order: int
) -> tuple[NDArray[np.float64], tuple[tuple[int, int], ...]]:
    basis_y = _axis(shape[0], order).astype(np.float64)
    basis_x = _axis(shape[1], order).astype(np.float64)
    pairs = tuple((i, j) for i in range(order + 1) for j in range(order + 1 - i))
    columns = [np.outer(basis_y[:, i], basis_x[:, j]).reshape(-1) for i, j in pairs]
    return np.stack(columns, axis=1), pairs


@lru_cache(maxsize=16)
def _axis(size: int, order: int, covered: int | None = None) -> NDArray[np.float32]:
    # Pixel centres; [-1, 1] spans the pixels that the block means cover, on either grid.
    centres = (2 * np.arange(size) + 1) / (covered or size) - 1
    return chebyshev.chebvander(centres, order).astype(np.float32)


# Block means: the scale on which light is compared between frames.


def coarsen(image: NDArray[Any], blocks: int = _BLOCKS) -> NDArray[np.float32]:
    """Average an image over about `blocks` x `blocks` equal blocks.

    Within a block at most 8 rows are read: the mean of a few hundred pixels is precise enough, and
    a 2048 x 2048 frame takes milliseconds instead of tens.

    Parameters
    ----------
    image : (H, W); a NaN makes its block NaN. The remainder at the far edges is not used.

    Returns
    -------
    (h, w) float32 with h, w <= 2 * `blocks`.
    """
    height, width = image.shape
    step_y, step_x = max(1, height // blocks), max(1, width // blocks)
    rows, cols = height // step_y, width // step_x
    view = image[: rows * step_y, : cols * step_x].reshape(rows, step_y, cols * step_x)
    view = view[:, :: max(1, step_y // 8)]
    lines = view.mean(axis=1, dtype=np.float32)
    return lines.reshape(rows, cols, step_x).mean(axis=2, dtype=np.float32)


def bright_level(coarse: NDArray[np.float32]) -> float:
    """Return the 95th percentile of block means, counts; NaN if nothing is finite."""
    finite = coarse[np.isfinite(coarse)]
    return float(np.percentile(finite, 95)) if finite.size else float("nan")
