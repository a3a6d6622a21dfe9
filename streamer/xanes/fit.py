"""Linear combination of the references, by weighted least squares from normal equations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...models.arrays import Array
from .basis import PIXEL, ROW

_PRIOR = 5.0
_WORST_CONDITION = 1e10
_NORMAL_MAD = 1.4826


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
