"""Cramer-Rao bound of the position of each true particle.

The bound is that of one frame whose noise-free picture is known but for the position of the
particle and four nuisances: the gain of the particle, an offset and a plane. An estimator that
shares information between frames (a smooth path) may beat it; one that does not know the picture
cannot reach it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ....models.arrays import Array
from ..simulate.raster import Patch
from ..simulate.settings import SimSettings
from ..simulate.simulator import Simulator
from .matching import where, within_sides

_STEP = 0.25
_MOVES = np.array([[_STEP, 0], [-_STEP, 0], [0, _STEP], [0, -_STEP]])
_ROUNDING = 1 / 12
"""Variance that the rounding of counts to integers adds, counts^2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """Smallest errors that an unbiased estimator can have, F frames and P particles.

    Attributes
    ----------
    frames : (F,) rows of the truth.
    sd : (F, P, 2) standard deviation of y and x, px; NaN where a particle is not visible, inf
        where its picture does not tell its position.
    covariance : (F, P, 2, 2) px^2.
    """

    frames: NDArray[np.int64]
    sd: Array
    covariance: Array

    def at(self, frames: ArrayLike, particles: ArrayLike) -> Array:
        """Return standard deviations (N, 2) of some instances, px; NaN where not computed."""
        rows = np.full(
            max(int(self.frames.max(initial=-1)), int(np.max(frames, initial=-1))) + 1, -1
        )
        rows[self.frames] = np.arange(len(self.frames))
        row = rows[np.asarray(frames, np.int64)]
        return np.where((row >= 0)[:, None], self.sd[row, np.asarray(particles, np.int64)], np.nan)


def cramer_rao(
    simulator: Simulator,
    frames: ArrayLike | None = None,
    *,
    own_flat: bool = True,
    margin: float = 8.0,
) -> Bound:
    """Compute the Cramer-Rao bound of the positions in frames of a simulated series.

    Fisher information of the mean of one chunk of exposures (Kay 1993, Fundamentals of
    Statistical Signal Processing I, eq. 3.31): derivatives by moving the particle by +-0.25 px
    in noise-free renders, nuisances removed by the Schur complement.

    Parameters
    ----------
    simulator : of the series.
    frames : rows of its truth; all if None. Some milliseconds per frame and particle.
    own_flat : each frame is divided by a flat of its own, a chunk of as many exposures; else the
        flat is known exactly.
    margin : what is seen around a particle, px; the plane and the offset are known from there.
    """
    truth, settings = simulator.truth, simulator.settings
    chosen = np.arange(truth.n_frames) if frames is None else np.asarray(frames, np.int64)
    covariance = np.full((len(chosen), truth.n_particles, 2, 2), np.nan)
    for row, frame in enumerate(chosen):
        sample = simulator.sample_light(int(frame))
        flat = simulator.flat_light(int(frame)) if own_flat else None
        for patch in simulator.patches(int(frame), _MOVES, margin):
            variance = od_variance(
                sample[patch.box] * np.exp(-patch.moved.mean(axis=0, dtype=np.float64)),
                None if flat is None else flat[patch.box],
                settings,
            )
            covariance[row, patch.particle] = _of_patch(patch, variance)
    covariance[~truth.visible[chosen]] = np.nan
    sd = np.sqrt(np.diagonal(covariance, axis1=2, axis2=3))
    return Bound(frames=chosen, sd=sd, covariance=covariance)


def od_variance(sample: ArrayLike, flat: ArrayLike | None, settings: SimSettings) -> Array:
    """Compute the variance of the optical density of one corrected frame, OD^2.

    Shot noise, read noise and rounding of the chunk of sample images, of the chunk of flats and
    of the chunk of dark images that both are corrected with.

    Parameters
    ----------
    sample, flat : expected counts of one exposure, same shape; no flat if it is exact.
    settings : of the camera and the chunk.
    """
    electronic = settings.read_noise**2 + _ROUNDING
    through = np.asarray(sample, np.float64)
    variance = (through + electronic) / through**2
    dark = 1 / through
    if flat is not None:
        free = np.asarray(flat, np.float64)
        variance = variance + (free + electronic) / free**2
        dark = dark - 1 / free
    return (variance + electronic * dark**2) / settings.chunk


def position_covariance(derivatives: Array, nuisances: Array, variance: Array) -> Array:
    """Invert the Fisher information of a position after its nuisances, (2, 2) px^2.

    Parameters
    ----------
    derivatives : (2, N) of the image by y and x, 1/px.
    nuisances : (K, N) derivatives by the parameters that have to be estimated along with it.
    variance : (N,) of each pixel, in the units of the image squared.

    Returns
    -------
    (2, 2) float64; inf on the diagonal where the image does not tell the position.
    """
    weight = 1 / np.sqrt(variance)
    wanted, others = (derivatives * weight).T, (nuisances * weight).T
    # the residual of a projection is the Schur complement, also for dependent nuisances
    left = wanted - others @ np.linalg.lstsq(others, wanted, rcond=None)[0]
    information = left.T @ left
    if np.linalg.cond(information) > 1e12:
        return np.diag([np.inf, np.inf])
    return np.asarray(np.linalg.inv(information), np.float64)


def rms_over_bound(errors: pd.DataFrame, bound: Bound) -> dict[str, float]:
    """Divide the rms position error by that of an ideal estimator.

    Parameters
    ----------
    errors : of a score: columns frame, truth, region, dy, dx, raw_dy, raw_dx (px).
    bound : of the same series; instances without a finite bound are left out of both.

    Returns
    -------
    Ratios, 1, ``overall``, ``below``, ``at``, ``above``, and ``within below``, ``within above``
    with the offset removed on either side by itself; NaN where nothing can be compared.
    """
    apart = within_sides(errors)
    tables = {"overall": errors} | {
        name: where(errors, errors["region"] == name) for name in ("below", "at", "above")
    }
    tables |= {f"within {s}": where(apart, apart["region"] == s) for s in ("below", "above")}
    return {name: _ratio(table, bound) for name, table in tables.items()}


def _ratio(errors: pd.DataFrame, bound: Bound) -> float:
    sd = bound.at(errors["frame"].to_numpy(), errors["truth"].to_numpy())
    known = np.isfinite(sd).all(axis=1)
    squares = errors[["dy", "dx"]].to_numpy(np.float64)[known] ** 2
    return float(np.sqrt(squares.sum() / (sd[known] ** 2).sum())) if known.any() else float("nan")


def _of_patch(patch: Patch, variance: Array) -> Array:
    up, down, right, left = patch.moved.astype(np.float64)
    derivatives = np.stack([up - down, right - left]) / (2 * _STEP)
    particle = patch.moved.mean(axis=0, dtype=np.float64) - patch.without
    y, x = np.indices(particle.shape) - (np.array(particle.shape)[:, None, None] - 1) / 2
    nuisances = np.stack([particle, np.ones_like(y), y, x])
    return position_covariance(
        derivatives.reshape(2, -1), nuisances.reshape(4, -1), variance.ravel()
    )
