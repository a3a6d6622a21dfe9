"""Design that spectra are fitted with: a polynomial in energy and the two references."""

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
