"""Cramer-Rao bound of the position of each true particle, and calibration of results.

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
from .matching import Ints, where, within_sides

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


# Calibration of results: errors in units of their own standard deviations.
#
# The normalised estimation error squared (NEES; Bar-Shalom, Li, Kirubarajan 2001, section 5.4) of
# a position is dy^2 / sigma_y^2 + dx^2 / sigma_x^2. Its mean is 2 if the standard deviations are
# true. Where in a particle its position lies is a convention, so that a constant offset is removed
# first: the inverse-variance weighted mean of each true particle. Of n errors this leaves n - 1,
# shared out by their weights: an error that makes up much of its particle's mean must be smaller.

_MEDIAN = 2 * np.log(2)
"""Median of a chi-squared distribution with two degrees of freedom."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Errors of n positions against their own standard deviations.

    Attributes
    ----------
    n : positions compared.
    nees : mean normalised error squared, 2 if calibrated; more if errors are larger than told.
    robust_nees : the same from medians, of the offset too, which few gross errors do not move.
    coverage_68, coverage_95 : share of true positions inside the ellipse that should hold 68 and
        95 % of them.
    """

    n: int
    nees: float
    robust_nees: float
    coverage_68: float
    coverage_95: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Normalised:
    """Squared errors over variances (N, 2), about the mean and about the median of a group.

    `expected` is what the squares about the mean are on average if calibrated.
    """

    squares: Array
    robust: Array
    expected: Array


def calibration(errors: pd.DataFrame) -> dict[str, Calibration]:
    """Measure calibration overall, by region, and within either side of the edge.

    Parameters
    ----------
    errors : of a score: columns truth, region, raw_dy, raw_dx, sigma_y, sigma_x (px). Rows
        without a positive finite sigma are left out.

    Returns
    -------
    dict
        ``overall``, ``below``, ``at``, ``above``: one offset per particle, so that a step over
        the edge counts; ``within below``, ``within above``: one per particle and side.

    Raises
    ------
    ValueError
        If the errors come without standard deviations.
    """
    if missing := {"sigma_y", "sigma_x"} - set(errors.columns):
        raise ValueError(
            f"calibration: columns {sorted(missing)} are missing; score rows that have them"
        )
    sigma = errors[["sigma_y", "sigma_x"]].to_numpy(np.float64)
    known = errors.loc[(np.isfinite(sigma) & (sigma > 0)).all(axis=1)]
    region = known["region"].to_numpy()
    whole, apart = _normalised(known, ["truth"]), _normalised(known, ["truth", "region"])
    found = {"overall": _summary(whole, np.ones(len(known), bool))}
    for name in ("below", "at", "above"):
        found[name] = _summary(whole, region == name)
    for name in ("below", "above"):
        found[f"within {name}"] = _summary(apart, region == name)
    return found


def _normalised(errors: pd.DataFrame, by: list[str]) -> _Normalised:
    group = errors.groupby(by).ngroup().to_numpy(np.int64)
    n_groups = int(group.max(initial=-1)) + 1
    sigma = errors[["sigma_y", "sigma_x"]].to_numpy(np.float64)
    error = errors[["raw_dy", "raw_dx"]].to_numpy(np.float64)
    squares, robust, expected = (np.zeros(error.shape) for _ in range(3))
    for axis in (0, 1):
        weight = sigma[:, axis] ** -2
        total = np.bincount(group, weight, n_groups)
        mean = np.bincount(group, weight * error[:, axis], n_groups) / total
        middle = _weighted_medians(error[:, axis], 1 / sigma[:, axis], group)
        squares[:, axis] = weight * (error[:, axis] - mean[group]) ** 2
        robust[:, axis] = weight * (error[:, axis] - middle[group]) ** 2
        expected[:, axis] = 1 - weight / total[group]
    return _Normalised(squares=squares, robust=robust, expected=expected)


def _weighted_medians(values: Array, weights: Array, group: Ints) -> Array:
    """Find the smallest value of each group that, with those below it, holds half of the weight."""
    order = np.lexsort((values, group))
    values, weights, group = values[order], weights[order], group[order]
    total = np.bincount(group, weights)
    before = np.concatenate([[0.0], np.cumsum(total)])[:-1]
    enough = np.cumsum(weights) - before[group] >= (0.5 - 1e-9) * total[group]
    _, first = np.unique(group[enough], return_index=True)
    return values[enough][first]


def _summary(normalised: _Normalised, chosen: NDArray[np.bool_]) -> Calibration:
    # a particle that was seen once has no error left
    free = chosen & (normalised.expected > 1e-9).all(axis=1)
    squares, expected = normalised.squares[free], normalised.expected[free]
    if not len(squares):
        nan = float("nan")
        return Calibration(n=0, nees=nan, robust_nees=nan, coverage_68=nan, coverage_95=nan)
    each = (squares / expected).sum(axis=1)
    return Calibration(
        n=len(squares),
        nees=float(2 * squares.sum() / expected.sum()),
        robust_nees=float(
            2 * np.median((normalised.robust[free] / expected).sum(axis=1)) / _MEDIAN
        ),
        coverage_68=float(np.mean(each <= -2 * np.log(1 - 0.68))),
        coverage_95=float(np.mean(each <= -2 * np.log(1 - 0.95))),
    )
