"""Deformation of the field around its drift, and the magnification of a zone plate in it.

Magnification changes with the energy. Where the profile gives the change, it is divided out of the
positions before drift and deformation. Where it does not, it is estimated from the isotropic part
of the affine deformation:

    (strain_yy + strain_xx) / 2 = strain(t) + slope * (energy - first energy)

with a strain that walks randomly in time. In a single monotone scan the two are confounded: only
what the strain may do is known (`RegisterSettings.strain_walk`), and it decides the error. Repeats
of an energy, or several scans, tell them apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ....models.arrays import Array
from .drift import error_variance, robust_weights, scatter_step
from .settings import RegisterSettings

_NAN = float("nan")
_MIN_SPREAD_PX = 5.0  # spread of particles, rms times root N, on their shorter axis; by eye
_ITERATIONS = 10  # of weights and scatter; by eye
_SLOPE_PRIOR = 1e-3  # 1/eV, of the magnification: ten times that of a zone plate at 8 keV
_WALK_S = 600.0  # `strain_walk` is given for ten minutes, the time of a scan


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
        """Return the displacement (N, 2) px at points (N, 2) px."""
        return self.offset + (points - self.centre) @ self.gradient.T

    def invert(self, points: Array) -> Array:
        """Find the points X (N, 2) for which X + u(X) are the given points (N, 2), px."""
        inverse = np.linalg.inv(np.eye(2) + self.gradient)
        return self.centre + (points - self.centre - self.offset) @ inverse.T

    @property
    def strain(self) -> tuple[float, float, float]:
        """Return the small strains (yy, xx, yx), dimensionless; NaN if not fitted."""
        if not self.fitted:
            return _NAN, _NAN, _NAN
        g = self.gradient
        return float(g[0, 0]), float(g[1, 1]), float(0.5 * (g[0, 1] + g[1, 0]))

    @property
    def strain_sigma(self) -> tuple[float, float, float]:
        """Return the standard errors of the strains (yy, xx, yx); NaN if not fitted."""
        y, x = self.covariance  # NaN if not fitted
        shear = 0.5 * (x[1, 1] + y[2, 2]) ** 0.5
        return float(y[1, 1] ** 0.5), float(x[2, 2] ** 0.5), float(shear)

    @property
    def rotation(self) -> float:
        """Return the rotation, rad, positive from +y towards +x; NaN if not fitted."""
        if not self.fitted:
            return _NAN
        return float(0.5 * (self.gradient[1, 0] - self.gradient[0, 1]))

    @property
    def rotation_sigma(self) -> float:
        """Return the standard error of the rotation, rad; NaN if not fitted."""
        return self.strain_sigma[2]  # shear and rotation are half of a sum and of a difference

    @property
    def dilation(self) -> tuple[float, float]:
        """Return the isotropic strain (yy + xx) / 2 and its standard error; NaN if not fitted."""
        if not self.fitted:
            return _NAN, _NAN
        variance = self.covariance[0, 1, 1] + self.covariance[1, 2, 2]
        return float(0.5 * np.trace(self.gradient)), float(0.5 * variance**0.5)


IDENTITY = Affine(
    gradient=np.zeros((2, 2)),
    offset=np.zeros(2),
    centre=np.zeros(2),
    covariance=np.full((2, 3, 3), np.nan),
    noise_share=1.0,
    fitted=False,
)


def fit_affine(points: Array, motion: Array, variance: Array, minimum: int) -> Affine:
    """Fit an affine field to the motion left after drift: Huber-robust, with random effects.

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
    if spread[-1] < _MIN_SPREAD_PX:  # particles on a line say nothing of strain across it
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
    """Return normal matrices (2, 3, 3) of the components, and solutions as columns (3, 2)."""
    weighted = weights.T[:, :, None] * design
    normal = design.T @ weighted
    right = (weighted * motion.T[:, :, None]).sum(axis=1)
    return normal, np.linalg.solve(normal, right[:, :, None])[:, :, 0].T


# Magnification: divided out where it is known, else the part of the strain that follows energy.


@dataclass(frozen=True, slots=True, kw_only=True)
class Magnification:
    """Magnification relative to that at the reference energy, with its standard error.

    Attributes
    ----------
    value, sigma : dimensionless, NaN if unknown; sigma is 0 where the profile gives the value.
    known : given by the profile, and divided out.
    """

    value: float
    sigma: float
    known: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Plane of the electrode in the image of one frame.

    Attributes
    ----------
    energy : eV, NaN if unknown.
    scale : magnification that is divided out, 1 if it is not known.
    axis_yx : (2,) float64, px, the point that does not move when the magnification changes.
    """

    energy: float = _NAN
    scale: float = 1.0
    axis_yx: tuple[float, float] = (0.0, 0.0)

    def to_reference(self, yx: Array) -> Array:
        """Move points (..., 2) of the image, px, to where they are at the reference energy."""
        axis = np.asarray(self.axis_yx)
        return axis + (yx - axis) / self.scale

    def to_image(self, yx: Array) -> Array:
        """Undo `to_reference`."""
        axis = np.asarray(self.axis_yx)
        return axis + (yx - axis) * self.scale


@dataclass(frozen=True, slots=True, kw_only=True)
class MagnificationState:
    """Reference energy, and the running regression of isotropic strain on energy.

    Attributes
    ----------
    reference : energy at which the magnification is 1, eV; NaN before the first frame.
    first : energy of the first frame, in which the deformation is 0, eV; NaN before it.
    time : data time of the last fitted frame, s; NaN before it.
    own : variance that the own motions of particles give the isotropic strain, as far as it is in
        `covariance`.
    mean : (2,) float64, strain (1) and slope (1/eV). covariance : (2, 2) float64.
    """

    reference: float
    first: float
    time: float
    own: float
    mean: Array
    covariance: Array


def init_magnification() -> MagnificationState:
    """Return the state before the first frame of a sample."""
    return MagnificationState(
        reference=_NAN,
        first=_NAN,
        time=_NAN,
        own=0.0,
        mean=np.zeros(2),
        covariance=np.diag([0.0, _SLOPE_PRIOR**2]),
    )


def view_of(
    state: MagnificationState,
    energy: float | None,
    shape: tuple[int, int],
    settings: RegisterSettings,
) -> tuple[MagnificationState, View]:
    """Find the view of a frame at this energy (eV) and of this shape (H, W).

    The first known energy becomes the reference unless the settings name one.
    """
    now = _NAN if energy is None else float(energy)
    if not np.isfinite(state.first):
        named = settings.magnification_energy
        state = replace(state, first=now, reference=now if named is None else named)
    centre = ((shape[0] - 1) / 2, (shape[1] - 1) / 2)
    axis = centre if settings.optical_axis_yx is None else settings.optical_axis_yx
    away, per_ev = now - state.reference, settings.magnification_per_ev
    scale = 1.0 if per_ev is None or not np.isfinite(away) else 1 + per_ev * away
    return state, View(energy=now, scale=scale, axis_yx=axis)


def update_magnification(
    state: MagnificationState, time: float, seen: View, affine: Affine, settings: RegisterSettings
) -> tuple[MagnificationState, Magnification]:
    """Advance the regression by the deformation of a frame, and estimate the magnification.

    Parameters
    ----------
    time : data time, s. seen : of the frame. affine : deformation found in it.
    """
    if settings.magnification_per_ev is not None:
        unknown = not np.isfinite(seen.energy)
        value = _NAN if unknown else seen.scale
        return state, Magnification(value=value, sigma=_NAN if unknown else 0.0, known=True)
    away = seen.energy - state.reference
    if affine.fitted and np.isfinite(away):
        state = _regress(state, time, seen.energy - state.first, affine, settings)
    if not np.isfinite(away) or (away != 0 and not np.isfinite(state.time)):
        return state, Magnification(value=_NAN, sigma=_NAN, known=False)
    return state, Magnification(
        value=float(1 + state.mean[1] * away),
        sigma=float(abs(away) * state.covariance[1, 1] ** 0.5),
        known=False,
    )


def slope(state: MagnificationState) -> tuple[float, float]:
    """Return the estimated change of the magnification and its standard error, 1/eV."""
    return float(state.mean[1]), float(state.covariance[1, 1] ** 0.5)


def scale_between(before: Array, after: Array, sigma: Array) -> tuple[float, float]:
    """Fit the isotropic scale between positions of the same particles in two images.

    Parameters
    ----------
    before, after : (N, 2) float64, px; N >= 4.
    sigma : (N, 2) float64, px, of `after` - `before`.

    Returns
    -------
    Scale from the first to the second and its standard error; NaN if it cannot be fitted.
    """
    affine = fit_affine(before, after - before, error_variance(sigma), minimum=4)
    dilation, error = affine.dilation
    return 1 + dilation, error


def _regress(
    state: MagnificationState, time: float, away: float, affine: Affine, settings: RegisterSettings
) -> MagnificationState:
    """Advance a Kalman filter by one frame: strain walks, the slope stays.

    What the own motions of particles do to the strain lasts from frame to frame as strain does,
    and is no noise that would average out.
    """
    dilation, sigma = affine.dilation
    noise = sigma**2 * affine.noise_share
    own = max(sigma**2 - noise, state.own)
    if np.isfinite(state.time):
        walk = settings.strain_walk**2 * max(time - state.time, 0.0) / _WALK_S
    else:
        walk = noise  # of the reference positions
    covariance = state.covariance + np.diag([walk + own - state.own, 0.0])
    seen_as = np.array([1.0, away])
    spread = covariance @ seen_as
    gain = spread / (seen_as @ spread + noise)
    return replace(
        state,
        time=time,
        own=own,
        mean=state.mean + gain * (dilation - seen_as @ state.mean),
        covariance=covariance - np.outer(gain, spread),
    )
