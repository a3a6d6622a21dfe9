"""Affine deformation of the field around its drift, with its covariance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....models.arrays import Array
from .drift import robust_weights, scatter_step

_NAN = float("nan")

_MIN_SPREAD_PX = 5.0

_ITERATIONS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Affine:
    """Small affine deformation about a centre: u(X) = offset + gradient (X - centre).

    Attributes
    ----------
    gradient : (2, 2) float64, d u_(y, x) / d X_(y, x), dimensionless.
    offset, centre : (2,) float64, px.
    covariance : (2, 3, 3) float64: for u_y and for u_x that of (offset, d/dy, d/dx), px^2, px
        and 1; the two are independent.
    noise_share : part of `covariance` that errors of positions make; the rest is own motion.
    fitted : False if there were too few particles; then `gradient` and `offset` are zero.
    """

    gradient: Array
    offset: Array
    centre: Array
    covariance: Array
    noise_share: float
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
            return _NAN, _NAN, _NAN
        g = self.gradient
        return float(g[0, 0]), float(g[1, 1]), float(0.5 * (g[0, 1] + g[1, 0]))

    @property
    def strain_sigma(self) -> tuple[float, float, float]:
        """Standard errors of the strains (yy, xx, yx), dimensionless; NaN if not fitted."""
        if not self.fitted:
            return _NAN, _NAN, _NAN
        own, cross = self._gradient_variance()
        return float(own[0] ** 0.5), float(own[1] ** 0.5), float(0.5 * cross.sum() ** 0.5)

    @property
    def rotation(self) -> float:
        """Rotation, rad, positive from +y towards +x; NaN if not fitted."""
        if not self.fitted:
            return _NAN
        return float(0.5 * (self.gradient[1, 0] - self.gradient[0, 1]))

    @property
    def rotation_sigma(self) -> float:
        """Standard error of the rotation, rad; NaN if not fitted."""
        if not self.fitted:
            return _NAN
        return float(0.5 * self._gradient_variance()[1].sum() ** 0.5)

    @property
    def dilation(self) -> tuple[float, float]:
        """Isotropic strain (yy + xx) / 2 and its standard error; NaN if not fitted."""
        if not self.fitted:
            return _NAN, _NAN
        own, _ = self._gradient_variance()
        return float(0.5 * np.trace(self.gradient)), float(0.5 * own.sum() ** 0.5)

    def _gradient_variance(self) -> tuple[Array, Array]:
        """Variances of (yy, xx), and of the two that shear and rotation share."""
        c = self.covariance
        return np.array([c[0, 1, 1], c[1, 2, 2]]), np.array([c[0, 2, 2], c[1, 1, 1]])


IDENTITY = Affine(
    gradient=np.zeros((2, 2)),
    offset=np.zeros(2),
    centre=np.zeros(2),
    covariance=np.full((2, 3, 3), np.nan),
    noise_share=1.0,
    fitted=False,
)


def fit_affine(points: Array, motion: Array, variance: Array, minimum: int) -> Affine:
    """Affine field of the motion left after drift: Huber-robust, with random effects.

    Particles also move on their own. What they scatter about the field beyond their errors is
    found with it and counts in weights and covariance; without it a few well-measured particles
    would decide alone, and strains would look far better known than they are.

    Parameters
    ----------
    points : (N, 2) float64, reference positions, px.
    motion : (N, 2) float64, displacement of each less the drift, px.
    variance : (N, 2) float64, of the errors of `motion`, px^2.
    minimum : fewer particles than this give the identity, `fitted` False.
    """
    if len(points) < minimum:
        return IDENTITY
    centre = np.average(points, axis=0, weights=1.0 / variance.sum(axis=1))
    spread = np.linalg.svd(points - centre, compute_uv=False)
    if spread[-1] < _MIN_SPREAD_PX:  # particles on a line cannot tell strain across it
        return IDENTITY
    design = np.column_stack([np.ones(len(points)), points - centre])
    # from the median on, so that one particle of its own mind neither bends nor widens the fit
    apart = motion - np.median(motion, axis=0)
    # the median distance of a 2-D normal is 1.18 sigma
    scatter = float(np.median(np.hypot(*apart.T)) / 1.18) ** 2
    weights = robust_weights(apart, variance + scatter)
    for _ in range(_ITERATIONS):
        normal, solution = _solve(design, motion, weights[:, None] / (variance + scatter))
        residual = motion - design @ solution
        scatter = max(scatter_step(residual, variance, scatter, 3), 0.0)
        weights = robust_weights(residual, variance + scatter)
    normal, solution = _solve(design, motion, weights[:, None] / (variance + scatter))
    return Affine(
        gradient=np.array(solution[1:].T, dtype=np.float64),
        offset=solution[0],
        centre=centre,
        covariance=np.asarray(np.linalg.inv(normal), dtype=np.float64),
        noise_share=float(np.mean(variance / (variance + scatter))),
        fitted=True,
    )


def _solve(design: Array, motion: Array, weights: Array) -> tuple[Array, Array]:
    """Normal matrices (2, 3, 3) of the two components, and their solutions as columns (3, 2)."""
    weighted = weights.T[:, :, None] * design
    normal = design.T @ weighted
    right = (weighted * motion.T[:, :, None]).sum(axis=1)
    return normal, np.linalg.solve(normal, right[:, :, None])[:, :, 0].T
