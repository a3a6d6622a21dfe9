"""Motion of single particles by the correlation of their edges: a ruler beside the processor.

Slow and without a notion of particles, but independent of masks, templates and identities: the
magnitude of the gradient hardly knows how dense a particle is. Each particle is cut out where it
was in the first frame and correlated with the same window elsewhere (matrix DFT, Guizar-Sicairos
et al. 2008, doi:10.1364/OL.33.000156), moved along until it fits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_gradient_magnitude, map_coordinates
from skimage.registration import phase_cross_correlation

from ....models.arrays import Array
from .harness import Progress, no_progress, tracked

_SMOOTH_PX = 3.0  # by eye: the width of a rim
_MARGIN_PX = 10  # by eye
_REACH = 1.35  # by eye: radii; the rim and what surrounds it
_ROUNDS = 3  # by eye: the window follows until it fits
_UPSAMPLING = 50  # 1/50 px adds nothing to the error
_SIMILARITY_ROUNDS = 20  # by eye: weights have settled long before
_HUBER = 1.5  # standard deviations, as usual: 95 % efficient for normal errors (1.345 at least)
_MAD = 1.1774
"""Median of the length of a normal vector of unit variance per component (Rayleigh)."""


def follow_edges(
    images: NDArray[np.float32],
    start: Array,
    radius: Array,
    expected: Array,
    progress: Progress = no_progress,
) -> Array:
    """Follow particles from the first frame.

    Parameters
    ----------
    images : (F, H, W) float32, optical density, NaN where invalid.
    start : (P, 2) float64, places in the first frame, px; NaN where there is none.
    radius : (P,) float64, radii, px.
    expected : (F, 2) float64, common motion since the first frame, px, good to the radius.

    Returns
    -------
    (F, P, 2) float64, px, NaN without a start.
    """
    edges = [
        np.asarray(gaussian_gradient_magnitude(np.nan_to_num(image), _SMOOTH_PX), dtype=np.float32)
        for image in images
    ]
    plain: Any = None
    places = np.full((len(images), *start.shape), np.nan)
    started = np.flatnonzero(np.isfinite(start[:, 0]))
    for particle in tracked(started, progress, "edges of particles", len(started)):
        half = int(_REACH * radius[particle]) + _MARGIN_PX
        first = _window(edges[0], start[particle], half)
        for frame, image in enumerate(edges):
            shift = expected[frame].copy()
            for _ in range(_ROUNDS):
                moved = _window(image, start[particle] + shift, half)
                # no normalization: phases of noise count for nothing
                found = phase_cross_correlation(
                    first, moved, upsample_factor=_UPSAMPLING, normalization=plain
                )
                shift -= np.asarray(found[0], dtype=np.float64)
            places[frame, particle] = start[particle] + shift
    return places


def _window(image: NDArray[np.float32], centre: Array, half: int) -> Array:
    """Cut a square about a place, without its mean, tapered, so that no rim correlates."""
    span = np.arange(-half, half + 1, dtype=np.float64)
    grid = np.stack(np.meshgrid(span, span, indexing="ij")) + centre[:, None, None]
    cut = map_coordinates(image, grid, order=3, mode="nearest")
    taper = np.sqrt(np.hanning(len(span)))
    return (cut - cut.mean()) * np.outer(taper, taper)


# Robust fit of a similarity: how two images of the same particles differ in scale and rotation.


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarityTransform:
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
    before: Array, after: Array, draws: int = 1000, sigma: Array | None = None
) -> SimilarityTransform:
    """Fit by Huber weights, iteratively reweighted (Huber 1964, doi:10.1214/aoms/1177703732).

    Points also differ by what their errors do not tell. That is estimated from the residuals and
    added to every error, so that no point counts for more than it explains.

    Parameters
    ----------
    before, after : (N, 2) float64, px, the same points in two images.
    draws : bootstrap samples of the points.
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
    return SimilarityTransform(
        scale=scale,
        rotation=float(np.arctan2(solution[1], solution[0])),
        shift=solution[2:],
        scale_sigma=float(np.sqrt(along @ covariance[:2, :2] @ along)),
        rotation_sigma=float(np.sqrt(across @ covariance[:2, :2] @ across)) / scale,
        scale_bootstrap=_bootstrap(before - middle, after - middle, sigma, draws),
        residuals=residuals,
    )


def _design(points: Array) -> Array:
    """Set up the equations (2N, 4): y' = a y - b x + t, x' = b y + a x + u."""
    y, x = points.T
    one, zero = np.ones_like(y), np.zeros_like(y)
    rows = np.stack([np.stack([y, -x, one, zero], -1), np.stack([x, y, zero, one], -1)], axis=1)
    return rows.reshape(-1, 4)


def _huber(before: Array, after: Array, sigma: Array) -> tuple[Array, Array, Array]:
    """Solve for (a, b, t, u), weights (N,) and residuals (N, 2)."""
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


def _bootstrap(before: Array, after: Array, sigma: Array, draws: int) -> float:
    rng = np.random.default_rng(0)
    scales = []
    for chosen in rng.integers(len(before), size=(draws, len(before))):
        if len(np.unique(chosen)) >= 3:
            solution, _, _ = _huber(before[chosen], after[chosen], sigma[chosen])
            scales.append(float(np.hypot(*solution[:2])))
    return float(np.std(scales))
