"""Design that spectra are fitted with (a polynomial in energy, two references), and the fit."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from scipy.interpolate import Akima1DInterpolator

from ....models.arrays import Array
from ...errors import ConfigError
from .curve import edge_line, find_edges, make_operators, steepest
from .settings import XanesSettings

SIGMA = 0.01
"""Noise of weight 1, OD: that of a pixel of 10,000 counts. A choice of unit."""
_SCALE_EV = 200.0  # half of the range of a scan, so that columns are about 1
_MOST_WEIGHT = 4.0  # that of noise of 0.005 OD; by eye
_LEAST_WEIGHT = 2.0**-10  # 14 bits are left in fixed point (`ROW`)
_UNKNOWN_SIGMA = 0.03  # OD, about that of 1000 counts; by eye
_PRIOR = 5.0  # degrees of freedom that counting noise is worth as a prior of the misfit; by eye
_WORST_CONDITION = 1e10  # float64 has 16 digits: 6 are left; by eye
_NORMAL_MAD = 1.4826  # 1 / quantile(3/4) of the normal distribution
_DOUBT = 4.0  # a change is not believed below 2 standard errors (their square); by eye
_MOST_CORRELATED = 0.9  # keeps (1 + c) / (1 - c) finite: errors grow by 4.4 at most; by eye

# Reference spectra of pure phases.


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseReference:
    """Spectrum of one pure phase.

    Attributes
    ----------
    name : of the phase.
    energy : (N,) eV, rising.
    mu : (N,) absorption; about 0 below and 1 above the edge if it is normalised.
    edge : where it has risen by half of its step, eV.
    """

    name: str
    energy: Array
    mu: Array
    edge: float


def make_reference(name: str, energy: Array, mu: Array, settings: XanesSettings) -> PhaseReference:
    """Order a spectrum by energy, shift it, and normalise it if the settings say so.

    Parameters
    ----------
    energy : (N,) eV. mu : (N,) absorption in any unit.

    Raises
    ------
    ConfigError
        It has no edge, or its values are not finite.
    """
    if not (np.isfinite(energy).all() and np.isfinite(mu).all()) or len(energy) < 8:
        raise ConfigError(f"{name}: want at least 8 finite values, got {len(energy)}")
    order = np.argsort(energy, kind="stable")
    energy, mu = energy[order] + settings.energy_shift, mu[order]
    fresh = np.append(True, np.diff(energy) > 0)
    energy, mu = energy[fresh], mu[fresh]
    near = steepest(energy, mu) if settings.edge is None else settings.edge
    operators = make_operators(energy, near, settings)
    if operators is None:
        raise ConfigError(
            f"{name}: {energy[0]:.0f} to {energy[-1]:.0f} eV does not span the edge at {near:.0f}"
        )
    rises = float(operators.step @ mu) > 0
    edge = float(find_edges(operators, mu[:, None], 0.0).energy[0]) if rises else np.nan
    if not np.isfinite(edge):
        raise ConfigError(f"{name}: has no edge near {operators.edge:.0f} eV")
    raw = PhaseReference(name=name, energy=energy, mu=mu, edge=edge)
    return _normalised(raw, settings) if settings.normalise_references else raw


def digest(references: tuple[PhaseReference, ...]) -> str:
    """Hash the content of references, "" without any: it is part of what makes results."""
    if not references:
        return ""
    content = b"".join(r.energy.tobytes() + r.mu.tobytes() for r in references)
    return hashlib.sha256(content).hexdigest()


def _normalised(raw: PhaseReference, settings: XanesSettings) -> PhaseReference:
    operators = make_operators(raw.energy, raw.edge, settings)
    line = edge_line(raw.energy, raw.edge, -settings.pre_edge, raw.energy)
    if operators is None or line is None:
        raise ConfigError(f"{raw.name}: does not span its edge at {raw.edge:.0f} eV")
    step = float(operators.step @ raw.mu)
    return replace(raw, mu=(raw.mu - line @ raw.mu) / step)


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """Columns of the design: 1, e, e^2, ... and the references, if there are any.

    Attributes
    ----------
    edge : mean edge of the references, eV, where e is 0; None without references. e is in units of
        200 eV.
    degree : of the polynomial.
    references : none, or the reduced and the oxidised phase.
    curves : what interpolates each of them.
    window : energies that are used, from and to, eV.
    """

    edge: float | None
    degree: int
    references: tuple[PhaseReference, ...]
    curves: tuple[Akima1DInterpolator, ...]
    window: tuple[float, float]

    def rows(self, energies: Array) -> Array:
        """Return rows (n, K) of the design; 0 for energies (n,) outside the window."""
        e = (energies - (self.edge or 0.0)) / _SCALE_EV
        columns = [e**power for power in range(self.degree + 1)]
        columns += [curve(energies) for curve in self.curves]
        used = (energies >= self.window[0]) & (energies <= self.window[1])
        rows = np.stack(columns, axis=1)
        return np.where((used & np.isfinite(rows).all(axis=1))[:, None], rows, 0.0)


def make_basis(settings: XanesSettings, references: tuple[PhaseReference, ...] = ()) -> Basis:
    """Choose the columns for settings and references."""
    low, high = settings.window or (0.0, np.inf)
    for reference in references:
        low = max(low, float(reference.energy[0]))
        high = min(high, float(reference.energy[-1]))
    if not references:  # nothing is fitted; the one column serves the mean of a pixel
        return Basis(edge=None, degree=0, references=(), curves=(), window=(low, high))
    return Basis(
        edge=float(np.mean([r.edge for r in references])),
        degree=settings.degree,
        references=references,
        curves=tuple(Akima1DInterpolator(r.energy, r.mu) for r in references),
        window=(low, high),
    )


def weights(sigma: float, od: Array) -> Array:
    """Weight P ROIs of optical density `od` (P,) in a frame with pixel noise `sigma`, OD.

    The noise is that of counting: the background of a frame, whose noise is measured, has hardly
    any optical density, and an absorber that of fewer counts.
    """
    base = sigma if np.isfinite(sigma) and sigma > 0 else _UNKNOWN_SIGMA
    variance = base**2 / background_noise(od)
    return np.clip(SIGMA**2 / variance, _LEAST_WEIGHT, _MOST_WEIGHT)


def background_noise(od: Array) -> Array:
    """Compare the variance of the background with that of what has optical density `od`, 0 to 1."""
    return 2 / (1 + np.exp(np.clip(od, 0.0, 6.0)))


# Least squares with the design, from normal equations.


@dataclass(frozen=True, slots=True, kw_only=True)
class Fractions:
    """Fractions of p spectra, each (p,), NaN where they are not known.

    Attributes
    ----------
    fraction : share of the oxidised phase. sigma : its standard error.
    step : of both phases together, OD if the references are normalised.
    """

    fraction: Array
    sigma: Array
    step: Array


def inverse(normal: Array) -> Array:
    """Invert normal matrices (..., K, K); NaN where the energies do not fix all coefficients.

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
    """Compute the share of the oxidised phase, the last column of the design, in both.

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
        known = (step > 3 * np.sqrt(np.maximum(own, 0.0))) & (own > 0) & (variance > 0)
    return Fractions(
        fraction=np.where(known, oxidised / np.where(known, step, 1.0), np.nan),
        sigma=np.where(known, np.sqrt(np.where(known, variance, 0.0)), np.nan),
        step=step,
    )


def background_variance(beside: Array, cov: Array, found: Fractions) -> Array:
    """Estimate the variance (p,) of fractions from the background beneath a particle.

    A particle that moves over a background with structure while the edge is crossed has something
    else beneath it above the edge than below, which looks like chemistry. How much of it there is
    shows beside the particle, where both phases should be zero; the spread is a median, as a
    neighbour may be there as well.

    Parameters
    ----------
    beside : (2, r) reduced and oxidised phase of pixels around the particle; 0 if there are none.
    cov : (K, K) covariance of coefficients from counting alone.
    found : of p pixels.
    """
    if not beside.size or not np.isfinite(beside).all():
        return np.zeros(len(found.fraction))
    reduced, oxidised = (_spread(values) ** 2 for values in beside)
    both = (_spread(beside.sum(axis=0)) ** 2 - reduced - oxidised) / 2
    extra = np.array([[reduced, both], [both, oxidised]]) - cov[-2:, -2:]
    share = np.clip(found.fraction, 0.0, 1.0)
    towards = np.stack([-share, 1.0 - share])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.maximum(np.sum(towards * (extra @ towards), axis=0), 0.0) / found.step**2


def _spread(values: Array) -> float:
    """Estimate the standard deviation of values, most of which are normal ones."""
    return float(_NORMAL_MAD * np.median(np.abs(values - np.median(values))))


def excess(residual: Array, freedom: Array | float, prior: float = _PRIOR) -> Array:
    """Compare the variance of residuals with that expected of counting.

    Parameters
    ----------
    residual : (p,) weighted sums of their squares, of noise of weight 1.
    freedom : degrees of freedom.
    prior : how many degrees of freedom the counting noise is worth.
    """
    return (residual + prior) / (np.maximum(freedom, 0.0) + prior)


# Fraction of particles whose chemistry goes on while they are scanned.
#
# A fit that knows but one fraction for the whole scan is biased when the fraction changes. One more
# column, the difference of the references times the time, lets it change linearly; the fraction is
# then that of the moment at which the column is zero. How far the column is trusted follows from
# how clearly it is seen, so that particles at rest and early energies are not given its noise
# (positive-part shrinkage, Stein 1964).


def mean_fractions(rows: Array, weight: Array, od: Array, pixels: Array, time: Array) -> Fractions:
    """Fit the share of the oxidised phase in P particles to mean spectra over n frames.

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
    coefficients, covariance, steady_scale = _fit(rows, weight, od, pixels)
    steady = fractions(coefficients, covariance, steady_scale)
    if np.count_nonzero(rows.any(axis=1)) <= rows.shape[1] + 1:
        return steady
    difference = rows[:, -1] - rows[:, -2]
    since = time - np.average(time, weights=difference**2) if difference.any() else time * 0.0
    change = difference * since / max(float(np.ptp(time)), 1e-9)  # a fraction that rises by 1
    coefficients, covariance, scale = _fit(np.column_stack([change, rows]), weight, od, pixels)
    # not all of the misfit that the further column took away was a change of the fraction
    scale = np.sqrt(scale * np.maximum(steady_scale, scale))
    moving = fractions(coefficients, covariance, scale)
    with np.errstate(invalid="ignore", divide="ignore"):
        trust = 1.0 - _DOUBT * (scale * covariance[:, 0, 0]) / coefficients[0] ** 2
    trust = np.where(np.isfinite(trust), np.maximum(trust, 0.0), 0.0)
    return _between(steady, moving, trust)


def _between(steady: Fractions, moving: Fractions, trust: Array) -> Fractions:
    """Average both fits, the second with weight `trust` (P,), 0 to 1."""
    trust = np.where(np.isfinite(moving.fraction), trust, 0.0)
    apart = np.where(trust > 0, moving.fraction - steady.fraction, 0.0)
    own = np.where(trust > 0, moving.sigma, 0.0)
    variance = (1 - trust) * steady.sigma**2 + trust * own**2 + trust * (1 - trust) * apart**2
    return Fractions(
        fraction=steady.fraction + trust * apart, sigma=np.sqrt(variance), step=steady.step
    )


def _fit(design: Array, weight: Array, od: Array, pixels: Array) -> tuple[Array, Array, Array]:
    """Fit a design (n, M) to mean spectra.

    Returns
    -------
    Coefficients (M, P), their covariance (P, M, M) for noise of weight 1, and the factor (P,) by
    which their variance is larger.
    """
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
    return coefficients, SIGMA**2 * solved, scale * (1 + correlation) / (1 - correlation)
