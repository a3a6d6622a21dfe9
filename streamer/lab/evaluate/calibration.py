"""Calibration of results: errors in units of their own standard deviations.

The normalised estimation error squared (NEES; Bar-Shalom, Li, Kirubarajan 2001, section 5.4) of a
position is dy^2 / sigma_y^2 + dx^2 / sigma_x^2. Its mean is 2 if the standard deviations are true.
Where in a particle its position lies is a convention, so that a constant offset is removed first:
the inverse-variance weighted mean of each true particle. Of n errors this leaves n - 1, shared out
by their weights: an error that makes up much of its particle's mean must be smaller.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ....models.arrays import Array
from .matching import Ints

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


def summary(found: dict[str, Calibration]) -> dict[str, dict[str, float]]:
    """Return plain numbers, for JSON."""
    return {name: asdict(one) for name, one in found.items()}


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
