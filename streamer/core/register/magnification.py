"""Magnification of a zone plate, which changes with the energy.

Where the profile tells the change, it is divided out of the positions before drift and
deformation. Where it does not, it is estimated from the isotropic part of the affine deformation:

    (strain_yy + strain_xx) / 2 = strain(t) + slope * (energy - first energy)

with a strain that walks randomly in time. In a single monotone scan the two are confounded: only
what the strain may do is known (`RegisterSettings.strain_walk`), and it decides the error. Repeats
of an energy, or several scans, tell them apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ....models.arrays import Array
from .affine import Affine, fit_affine
from .drift import error_variance
from .settings import RegisterSettings

_NAN = float("nan")

# what a slope may be before anything is known, 1/eV: ten times that of a zone plate at 8 keV
_SLOPE_PRIOR = 1e-3

# `strain_walk` is told for ten minutes, the time of a scan
_WALK_S = 600.0


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
    """How the image shows the plane of the electrode in one frame.

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
        """Points (..., 2) of the image, px, as at the reference energy, px."""
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


def init() -> MagnificationState:
    """State before the first frame of a sample."""
    return MagnificationState(
        reference=_NAN,
        first=_NAN,
        time=_NAN,
        own=0.0,
        mean=np.zeros(2),
        covariance=np.diag([0.0, _SLOPE_PRIOR**2]),
    )


def view(
    state: MagnificationState,
    energy: float | None,
    shape: tuple[int, int],
    settings: RegisterSettings,
) -> tuple[MagnificationState, View]:
    """How a frame at this energy (eV) and of this shape (H, W) shows the electrode.

    The first known energy becomes the reference unless the settings name one.
    """
    now = _NAN if energy is None else float(energy)
    if not np.isfinite(state.first):
        named = settings.magnification_energy
        state = replace(state, first=now, reference=now if named is None else named)
    centre = ((shape[0] - 1) / 2, (shape[1] - 1) / 2)
    axis = centre if settings.optical_axis_yx is None else settings.optical_axis_yx
    return state, View(energy=now, scale=_known(state, now, settings), axis_yx=axis)


def update(
    state: MagnificationState, time: float, seen: View, affine: Affine, settings: RegisterSettings
) -> tuple[MagnificationState, Magnification]:
    """Advance the regression by the deformation of a frame, and tell the magnification.

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
    """Estimated change of the magnification and its standard error, 1/eV."""
    return float(state.mean[1]), float(state.covariance[1, 1] ** 0.5)


def scale_between(before: Array, after: Array, sigma: Array) -> tuple[float, float]:
    """Isotropic scale between positions of the same particles in two images.

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


def _known(state: MagnificationState, energy: float, settings: RegisterSettings) -> float:
    away = energy - state.reference
    if settings.magnification_per_ev is None or not np.isfinite(away):
        return 1.0
    return 1 + settings.magnification_per_ev * away


def _regress(
    state: MagnificationState, time: float, away: float, affine: Affine, settings: RegisterSettings
) -> MagnificationState:
    """One step of a Kalman filter: strain walks, the slope stays.

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
