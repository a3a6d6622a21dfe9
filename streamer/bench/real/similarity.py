"""Robust fit of a similarity: how two images of the same particles differ in scale and rotation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....models.arrays import Array

_SIMILARITY_ROUNDS = 20
_HUBER = 1.5
_MAD = 1.1774
"""Median of the length of a normal vector of unit variance per component (Rayleigh)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Similarity:
    """``after = scale * R(rotation) @ before + shift`` about the middle of the points.

    Attributes
    ----------
    scale, rotation : 1 and rad, positive from y towards x. shift : (2,) float64, px, of the middle.
    scale_sigma, rotation_sigma : standard errors from the normal equations and the residuals.
    scale_bootstrap : standard deviation of the scale over resampled points.
    residuals : (N, 2) float64, px.
    """

    scale: float
    rotation: float
    shift: Array
    scale_sigma: float
    rotation_sigma: float
    scale_bootstrap: float
    residuals: Array


def fit_similarity(
    before: Array, after: Array, draws: int = 1000, seed: int = 0, sigma: Array | None = None
) -> Similarity:
    """Fit by Huber weights, iteratively reweighted (Huber 1964, doi:10.1214/aoms/1177703732).

    Points also differ by what their errors do not tell. That is estimated from the residuals and
    added to every error, so that no point counts for more than it explains.

    Parameters
    ----------
    before, after : (N, 2) float64, px, the same points in two images.
    draws : bootstrap samples of the points. seed : of the bootstrap.
    sigma : (N,) float64, px, errors of `after - before` per component; all alike if None.

    Raises
    ------
    ValueError
        For fewer than three points.
    """
    if len(before) < 3:
        raise ValueError(f"similarity: wanted 3 points or more, got {len(before)}")
    middle = before.mean(axis=0)
    sigma = np.zeros(len(before)) if sigma is None else sigma
    solution, weights, residuals = _huber(before - middle, after - middle, sigma)
    design = _design(before - middle)
    flat = np.repeat(weights, 2)
    freedom = max(2 * len(before) - 4, 1)
    variance = float((flat * residuals.ravel() ** 2).sum()) / freedom
    covariance = variance * np.linalg.inv(design.T @ (flat[:, None] * design))
    scale = float(np.hypot(*solution[:2]))
    # the two elements along and across the direction of (a, b) are scale and scale * rotation
    along = solution[:2] / scale
    across = np.array([-along[1], along[0]])
    return Similarity(
        scale=scale,
        rotation=float(np.arctan2(solution[1], solution[0])),
        shift=solution[2:],
        scale_sigma=float(np.sqrt(along @ covariance[:2, :2] @ along)),
        rotation_sigma=float(np.sqrt(across @ covariance[:2, :2] @ across)) / scale,
        scale_bootstrap=_bootstrap(before - middle, after - middle, sigma, draws, seed),
        residuals=residuals,
    )


def _design(points: Array) -> Array:
    """(2N, 4): y' = a y - b x + t, x' = b y + a x + u."""
    y, x = points.T
    one, zero = np.ones_like(y), np.zeros_like(y)
    rows = np.stack([np.stack([y, -x, one, zero], -1), np.stack([x, y, zero, one], -1)], axis=1)
    return rows.reshape(-1, 4)


def _huber(before: Array, after: Array, sigma: Array) -> tuple[Array, Array, Array]:
    """Solution (a, b, t, u), weights (N,) and residuals (N, 2)."""
    design, target = _design(before), after.ravel()
    weights: Array = np.ones(len(before))
    solution, residuals = np.zeros(4), after
    for _ in range(_SIMILARITY_ROUNDS):
        root = np.sqrt(np.repeat(weights, 2))
        fit = np.linalg.lstsq(root[:, None] * design, root * target, rcond=None)[0]
        solution = np.asarray(fit, dtype=np.float64)
        residuals = (target - design @ solution).reshape(-1, 2)
        length = np.asarray(np.hypot(*residuals.T), dtype=np.float64)
        typical = max(float(np.median(length)) / _MAD, 1e-6)
        told = float(np.median(sigma))
        variance = sigma**2 + max(typical**2 - told**2, (0.1 * typical) ** 2)
        precision = typical**2 / variance
        limit = _HUBER * typical
        off = length * np.sqrt(precision)
        weights = precision * np.minimum(1.0, limit / np.maximum(off, 1e-12))
    return solution, weights, residuals


def _bootstrap(before: Array, after: Array, sigma: Array, draws: int, seed: int) -> float:
    rng = np.random.default_rng(seed)
    scales = []
    for chosen in rng.integers(len(before), size=(draws, len(before))):
        if len(np.unique(chosen)) >= 3:
            solution, _, _ = _huber(before[chosen], after[chosen], sigma[chosen])
            scales.append(float(np.hypot(*solution[:2])))
    return float(np.std(scales))
