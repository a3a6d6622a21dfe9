"""Fraction of particles whose chemistry goes on while it is scanned.

A fit that knows but one fraction for the whole scan is biased when the fraction changes. One more
column, the difference of the references times the time, lets it change linearly; the fraction is
then that of the moment at which the column is zero. How far the column is trusted follows from how
clearly it is seen, so that particles at rest and early energies are not given its noise (positive-
part shrinkage, Stein 1964).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...models.arrays import Array
from .basis import SIGMA
from .fit import Fractions, excess, fractions, inverse

_DOUBT = 4.0
_MOST_CORRELATED = 0.9


@dataclass(frozen=True, slots=True)
class _Fit:
    """Coefficients (M, P), their covariance (P, M, M) of noise of weight 1, and its scale (P,)."""

    coefficients: Array
    covariance: Array
    scale: Array

    def fractions(self) -> Fractions:
        return fractions(self.coefficients, self.covariance, self.scale)


def mean_fractions(rows: Array, weight: Array, od: Array, pixels: Array, time: Array) -> Fractions:
    """Share of the oxidised phase in P particles, from mean spectra over n frames.

    It is the mean over the time of the scan in which each frame counts by the square of the
    difference of the two phases at its energy: the moment at which the edge is crossed.

    Parameters
    ----------
    rows : (n, K) of the design, its last columns the reduced and the oxidised phase.
    weight : (n, P) of a pixel. pixels : (P,) that the means are over.
    od : (n, P) mean spectra, OD. time : (n,) s.

    Returns
    -------
    With standard errors in which the misfit and its correlation from frame to frame count: what
    lies beneath a particle moves slowly, and is not averaged out like the noise of counting.
    """
    order = np.argsort(time, kind="stable")
    rows, weight, od, time = rows[order], weight[order], od[order], time[order]
    steady = _fit(rows, weight, od, pixels)
    alone = steady.fractions()
    if np.count_nonzero(rows.any(axis=1)) <= rows.shape[1] + 1:
        return alone
    moving = _fit(np.column_stack([_change(rows, time), rows]), weight, od, pixels)
    # not all of the misfit that the further column took away was a change of the fraction
    scale = np.sqrt(moving.scale * np.maximum(steady.scale, moving.scale))
    moving = _Fit(moving.coefficients, moving.covariance, scale)
    return _between(alone, moving.fractions(), _trust(moving))


def _change(rows: Array, time: Array) -> Array:
    """The column (n,) of a fraction that rises by 1 over the scan."""
    difference = rows[:, -1] - rows[:, -2]
    since = time - np.average(time, weights=difference**2) if difference.any() else time * 0.0
    return difference * since / max(float(np.ptp(time)), 1e-9)


def _trust(moving: _Fit) -> Array:
    """How far (P,), 0 to 1, the change is believed."""
    variance = moving.scale * moving.covariance[:, 0, 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        trust = 1.0 - _DOUBT * variance / moving.coefficients[0] ** 2
    return np.where(np.isfinite(trust), np.maximum(trust, 0.0), 0.0)


def _between(steady: Fractions, moving: Fractions, trust: Array) -> Fractions:
    trust = np.where(np.isfinite(moving.fraction), trust, 0.0)
    apart = np.where(trust > 0, moving.fraction - steady.fraction, 0.0)
    own = np.where(trust > 0, moving.sigma, 0.0)
    variance = (1 - trust) * steady.sigma**2 + trust * own**2 + trust * (1 - trust) * apart**2
    return Fractions(
        fraction=steady.fraction + trust * apart, sigma=np.sqrt(variance), step=steady.step
    )


def _fit(design: Array, weight: Array, od: Array, pixels: Array) -> _Fit:
    outer = (design[:, :, None] * design[:, None, :]).reshape(len(design), -1)
    solved = inverse((weight.T @ outer).reshape(-1, design.shape[1], design.shape[1]))
    right = (weight * od).T @ design
    coefficients = (solved @ right[..., None])[..., 0].T
    residual = np.sqrt(weight) * (od - design @ coefficients)
    squares = np.sum(residual**2, axis=0)
    freedom = np.count_nonzero(weight, axis=0) - design.shape[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.sum(residual[1:] * residual[:-1], axis=0) / squares
    correlation = np.clip(np.nan_to_num(correlation), 0.0, _MOST_CORRELATED)
    scale = np.maximum(excess(pixels * squares / SIGMA**2, freedom), 1.0) / pixels
    return _Fit(coefficients, SIGMA**2 * solved, scale * (1 + correlation) / (1 - correlation))
