"""Common motion of the particles, and the affine deformation around it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_HUBER = 1.5
_SCALE_FLOOR_PX = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Affine:
    """Small affine deformation about a centre: u(X) = offset + gradient (X - centre).

    Attributes
    ----------
    gradient : (2, 2) float64, d u_(y, x) / d X_(y, x), dimensionless.
    offset, centre : (2,) float64, px.
    fitted : False if there were too few particles; then `gradient` and `offset` are zero.
    """

    gradient: Array
    offset: Array
    centre: Array
    fitted: bool

    def at(self, points: Array) -> Array:
        """Displacement (N, 2) px at points (N, 2) px."""
        return self.offset + (points - self.centre) @ self.gradient.T

    def invert(self, points: Array) -> Array:
        """Points X (N, 2) for which X + u(X) are the given points (N, 2), px."""
        inverse = np.linalg.inv(np.eye(2) + self.gradient)
        return self.centre + (points - self.centre - self.offset) @ inverse.T

    @property
    def strain(self) -> tuple[float, float, float]:
        """Small strains (yy, xx, yx), dimensionless; NaN if not fitted."""
        if not self.fitted:
            return float("nan"), float("nan"), float("nan")
        g = self.gradient
        return float(g[0, 0]), float(g[1, 1]), float(0.5 * (g[0, 1] + g[1, 0]))

    @property
    def rotation(self) -> float:
        """Rotation, rad, positive from +y towards +x; NaN if not fitted."""
        if not self.fitted:
            return float("nan")
        return float(0.5 * (self.gradient[1, 0] - self.gradient[0, 1]))


IDENTITY = Affine(gradient=np.zeros((2, 2)), offset=np.zeros(2), centre=np.zeros(2), fitted=False)


def random_effect_weights(values: Array, sigma: Array) -> Array:
    """Weights for a common value of vectors that differ by more than their errors.

    Particles also move on their own: the variance of each about the common motion is that of its
    position plus that of the scatter, seen robustly. Without the scatter, a few well-measured
    particles would decide alone.

    Parameters
    ----------
    values : (N, 2) float64, px. sigma : (N,) float64, error per component, px.

    Returns
    -------
    (N,) float64, px^-2.
    """
    distance = np.hypot(*(values - np.median(values, axis=0)).T)
    # the median distance of a 2-D normal is 1.18 sigma
    scatter = float(np.median(distance)) / 1.18
    return 1.0 / (np.maximum(sigma, _SCALE_FLOOR_PX) ** 2 + scatter**2)


def robust_mean(values: Array, weights: Array) -> tuple[Array, float]:
    """Huber mean of 2-D vectors.

    Starts at the component-wise median, so that a minority of mismatched particles cannot pull it.

    Parameters
    ----------
    values : (N, 2) float64, px, N >= 1.
    weights : (N,) float64, inverse variances, px^-2.

    Returns
    -------
    mean : (2,) float64, px.
    sigma : standard error of one component from the scatter of the values, px; NaN for N < 3.
    """
    centre = np.median(values, axis=0)
    huber = distance = np.ones(len(values))
    for _ in range(20):
        distance = np.hypot(*(values - centre).T)
        scale = max(1.26 * float(np.median(distance)), _SCALE_FLOOR_PX)
        huber = weights * np.minimum(1.0, _HUBER * scale / np.maximum(distance, 1e-12))
        update = (huber[:, None] * values).sum(axis=0) / huber.sum()
        done = np.abs(update - centre).max() < 1e-6
        centre = update
        if done:
            break
    if len(values) < 3:
        return centre, float("nan")
    # effective number of particles, and the scatter per component that they show
    effective = huber.sum() ** 2 / (huber**2).sum()
    scatter = (huber * distance**2).sum() / huber.sum() / 2
    return centre, float(np.sqrt(scatter / max(effective - 1, 1)))


def fit_affine(points: Array, motion: Array, weights: Array, minimum: int) -> Affine:
    """Weighted least-squares affine field of the motion left after drift, Huber-robust.

    Parameters
    ----------
    points : (N, 2) float64, reference positions, px.
    motion : (N, 2) float64, displacement of each less the drift, px.
    weights : (N,) float64, inverse variances, px^-2.
    minimum : fewer particles than this give the identity, `fitted` False.
    """
    if len(points) < minimum:
        return IDENTITY
    centre = np.average(points, axis=0, weights=weights)
    spread = np.linalg.svd(points - centre, compute_uv=False)
    if spread[-1] < 5.0:  # particles on a line cannot tell strain across it
        return IDENTITY
    design = np.column_stack([np.ones(len(points)), points - centre])
    huber = weights
    solution = np.zeros((3, 2))
    for _ in range(10):
        root = np.sqrt(huber)[:, None]
        solution = np.linalg.lstsq(design * root, motion * root, rcond=None)[0]
        distance = np.hypot(*(motion - design @ solution).T)
        scale = max(1.26 * float(np.median(distance)), _SCALE_FLOOR_PX)
        huber = weights * np.minimum(1.0, _HUBER * scale / np.maximum(distance, 1e-12))
    return Affine(
        gradient=np.array(solution[1:].T, dtype=np.float64),
        offset=solution[0],
        centre=centre,
        fitted=True,
    )
