"""Linear combination of the references, by weighted least squares from normal equations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ....models.arrays import Array
from .basis import PIXEL, ROW, SIGMA

_PRIOR = 5.0
_WORST_CONDITION = 1e10
_NORMAL_MAD = 1.4826
_DOUBT = 4.0
_MOST_CORRELATED = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Fractions:
    """Of p spectra, each (p,), NaN where it cannot be told.

    Attributes
    ----------
    fraction : share of the oxidised phase. sigma : its standard error.
    step : of both phases together, OD if the references are normalised.
    """

    fraction: Array
    sigma: Array
    step: Array


def normal_matrix(rows: Array, weighted: NDArray[np.int64]) -> Array:
    """(..., K, K), of the frames of particles.

    Parameters
    ----------
    rows : (n, K) of the design. weighted : (..., n, K), with their weights, fixed point.
    """
    return (np.swapaxes(weighted, -1, -2) * ROW) @ rows


def inverse(normal: Array) -> Array:
    """Of normal matrices (..., K, K); NaN where the energies do not tell all coefficients.

    Times `SIGMA` squared it is the covariance of the coefficients, for noise of weight 1.
    """
    scale = np.sqrt(np.maximum(np.diagonal(normal, axis1=-2, axis2=-1), 0.0))
    scale = np.where(scale > 0, scale, np.inf)
    outer = scale[..., :, None] * scale[..., None, :]
    size, axes = np.linalg.eigh(normal / outer)
    known = size[..., :1] > size[..., -1:] / _WORST_CONDITION
    size = np.where(known, size, np.nan)
    return (axes / size[..., None, :]) @ np.swapaxes(axes, -1, -2) / outer


def fractions(coefficients: Array, cov: Array, scale: Array) -> Fractions:
    """Share of the oxidised phase, the last column of the design, in both.

    Parameters
    ----------
    coefficients : (K, p). cov : (K, K) or (p, K, K), see `inverse`.
    scale : (p,) factor by which the variance is larger than `cov` says.
    """
    reduced, oxidised = coefficients[-2:]
    step = reduced + oxidised
    block = cov[..., -2:, -2:] if cov.ndim == 3 else cov[None, -2:, -2:]
    with np.errstate(invalid="ignore", divide="ignore"):
        gradient = np.stack([-oxidised, reduced], axis=1) / step[:, None] ** 2
        variance = scale * np.einsum(
            "pi,pij,pj->p", gradient, np.broadcast_to(block, (len(step), 2, 2)), gradient
        )
        own = scale * block.sum(axis=(1, 2))
        told = (step > 3 * np.sqrt(np.maximum(own, 0.0))) & (own > 0) & (variance > 0)
    return Fractions(
        fraction=np.where(told, oxidised / np.where(told, step, 1.0), np.nan),
        sigma=np.where(told, np.sqrt(np.where(told, variance, 0.0)), np.nan),
        step=step,
    )


def background_variance(beside: Array, cov: Array, told: Fractions) -> Array:
    """Variance (p,) of fractions from the structure of the background beneath a particle.

    A particle that moves over it while the edge is crossed has something else beneath it above the
    edge than below, which looks like chemistry. How much of it there is shows beside the particle,
    where both phases should be zero; the spread is a median, as a neighbour may be there as well.

    Parameters
    ----------
    beside : (2, r) reduced and oxidised phase of pixels around the particle; 0 if there are none.
    cov : (K, K) covariance of coefficients from counting alone.
    told : of p pixels.
    """
    if not beside.size or not np.isfinite(beside).all():
        return np.zeros(len(told.fraction))
    reduced, oxidised = (_spread(values) ** 2 for values in beside)
    both = (_spread(beside.sum(axis=0)) ** 2 - reduced - oxidised) / 2
    extra = np.array([[reduced, both], [both, oxidised]]) - cov[-2:, -2:]
    share = np.clip(told.fraction, 0.0, 1.0)
    towards = np.stack([-share, 1.0 - share])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.maximum(np.sum(towards * (extra @ towards), axis=0), 0.0) / told.step**2


def _spread(values: Array) -> float:
    """Standard deviation of values, most of which are normal ones."""
    return float(_NORMAL_MAD * np.median(np.abs(values - np.median(values))))


def excess(residual: Array, freedom: Array | float, prior: float = _PRIOR) -> Array:
    """Variance of residuals over that expected of counting.

    Parameters
    ----------
    residual : (p,) weighted sums of their squares, of noise of weight 1.
    freedom : degrees of freedom.
    prior : how many degrees of freedom the counting noise is worth.
    """
    return (residual + prior) / (np.maximum(freedom, 0.0) + prior)


def to_od(sums: NDArray[np.int64]) -> Array:
    """Weighted sums in fixed point as numbers."""
    return sums.astype(np.float64) * (PIXEL * ROW)


# Fraction of particles whose chemistry goes on while it is scanned.
#
# A fit that knows but one fraction for the whole scan is biased when the fraction changes. One more
# column, the difference of the references times the time, lets it change linearly; the fraction is
# then that of the moment at which the column is zero. How far the column is trusted follows from
# how clearly it is seen, so that particles at rest and early energies are not given its noise
# (positive-part shrinkage, Stein 1964).


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
