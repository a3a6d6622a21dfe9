"""Linear combination of the references, by weighted least squares from normal equations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .basis import PIXEL, ROW, SIGMA

Array = NDArray[np.float64]

_PRIOR = 5.0
_WORST_CONDITION = 1e10


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
    """(K, K), of the frames of one particle.

    Parameters
    ----------
    rows : (n, K) of the design. weighted : (n, K), with their weights, fixed point.
    """
    return (weighted.T * ROW) @ rows


def solve(normal: Array, right: Array) -> Array:
    """Coefficients (K, p) for right sides (K, p), NaN if the energies do not tell them.

    Parameters
    ----------
    normal : (K, K), or (p, K, K) if each spectrum has its own.
    """
    own = normal if normal.ndim == 3 else normal[None]
    known = _solvable(own)
    out = np.full(right.shape, np.nan)
    if normal.ndim == 2:
        return np.asarray(np.linalg.solve(normal, right), np.float64) if known[0] else out
    out[:, known] = np.linalg.solve(own[known], right.T[known][..., None])[..., 0].T
    return out


def covariance(normal: Array) -> Array:
    """Inverse (..., K, K) of normal matrices, for noise of weight 1; NaN where there is none."""
    own = normal if normal.ndim == 3 else normal[None]
    known = _solvable(own)
    out = np.full(own.shape, np.nan)
    out[known] = SIGMA**2 * np.linalg.inv(own[known])
    return out if normal.ndim == 3 else out[0]


def fractions(coefficients: Array, cov: Array, scale: Array) -> Fractions:
    """Share of the oxidised phase, the last column of the design, in both.

    Parameters
    ----------
    coefficients : (K, p). cov : (K, K) or (p, K, K), see `covariance`.
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


def _solvable(normal: Array) -> NDArray[np.bool_]:
    diagonal = np.sqrt(np.maximum(np.diagonal(normal, axis1=-2, axis2=-1), 0.0))
    lit: NDArray[np.bool_] = np.atleast_1d((diagonal > 0).all(axis=-1))
    safe = np.where(diagonal > 0, diagonal, 1.0)
    scaled = normal / (safe[..., :, None] * safe[..., None, :])
    lit[lit] &= np.linalg.cond(scaled[lit]) < _WORST_CONDITION
    return lit
