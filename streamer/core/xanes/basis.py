"""What spectra are fitted with: a polynomial in energy and the two references.

Sums over frames are kept in fixed point (integers), which add up exactly: whatever is added can be
taken out again without a trace, in any order. A pixel counts 2**-22 OD (finer than float32 of an
optical density of 1), a weighted row of the design 2**-24; sums of 8000 frames of 2 OD stay below
2**63.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import Akima1DInterpolator

from ....models.arrays import Array
from ...errors import ConfigError
from .curve import Curve, find_edges, make_curve, pre_edge_line, steepest
from .settings import XanesSettings

PIXEL = 2.0**-22
"""Unit in which pixels of ROIs are kept, OD."""
ROW = 2.0**-24
"""Unit in which weighted rows of the design are kept."""
INVALID = np.int32(-(2**31))
"""A pixel that has no value."""
SIGMA = 0.01
"""Noise of weight 1, OD."""
_MOST_OD = 100.0
_SCALE_EV = 200.0
_MOST_WEIGHT = 4.0
_LEAST_WEIGHT = 2.0**-10
_UNKNOWN_SIGMA = 0.03

# Reference spectra of pure phases.


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseReference:
    """One phase.

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
    curve = make_curve(energy, near, settings)
    if curve is None:
        raise ConfigError(
            f"{name}: {energy[0]:.0f} to {energy[-1]:.0f} eV does not span the edge at {near:.0f}"
        )
    raw = PhaseReference(name=name, energy=energy, mu=mu, edge=_edge(name, curve, mu))
    return _normalised(raw, settings) if settings.normalise_references else raw


def digest(references: tuple[PhaseReference, ...]) -> str:
    """Hash of the content of references, "" without any: it is part of what makes results."""
    if not references:
        return ""
    content = b"".join(r.energy.tobytes() + r.mu.tobytes() for r in references)
    return hashlib.sha256(content).hexdigest()


def _edge(name: str, curve: Curve, mu: Array) -> float:
    step = float(curve.step @ mu)
    energy = float(find_edges(curve, mu[:, None], 0.0).energy[0]) if step > 0 else float("nan")
    if not np.isfinite(energy):
        raise ConfigError(f"{name}: has no edge near {curve.edge:.0f} eV")
    return energy


def _normalised(raw: PhaseReference, settings: XanesSettings) -> PhaseReference:
    curve = make_curve(raw.energy, raw.edge, settings)
    line = pre_edge_line(raw.energy, raw.energy, raw.edge, settings)
    if curve is None or line is None:
        raise ConfigError(f"{raw.name}: does not span its edge at {raw.edge:.0f} eV")
    step = float(curve.step @ raw.mu)
    return replace(raw, mu=(raw.mu - line @ raw.mu) / step)


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """Columns of the design: 1, e, e^2, ... and the references, if there are any.

    Attributes
    ----------
    centre : energy at which e is 0, eV; e is in units of 200 eV.
    degree : of the polynomial.
    references : none, or the reduced and the oxidised phase.
    curves : what interpolates each of them.
    window : energies that are used, from and to, eV.
    """

    centre: float
    degree: int
    references: tuple[PhaseReference, ...]
    curves: tuple[Akima1DInterpolator, ...]
    window: tuple[float, float]

    @property
    def size(self) -> int:
        """Number K of columns."""
        return self.degree + 1 + len(self.references)

    @property
    def edge(self) -> float | None:
        """Where the references have their edge, eV; None without references."""
        if not self.references:
            return None
        return float(np.mean([r.edge for r in self.references]))

    def rows(self, energies: Array) -> Array:
        """Rows (n, K) of the design; 0 for energies (n,) outside the window."""
        e = (energies - self.centre) / _SCALE_EV
        columns = [e**power for power in range(self.degree + 1)]
        columns += [curve(energies) for curve in self.curves]
        used = (energies >= self.window[0]) & (energies <= self.window[1])
        rows = np.stack(columns, axis=1)
        return np.where((used & np.isfinite(rows).all(axis=1))[:, None], rows, 0.0)


def make_basis(settings: XanesSettings, references: tuple[PhaseReference, ...] = ()) -> Basis:
    """Columns for settings and references."""
    low, high = settings.window or (0.0, np.inf)
    for reference in references:
        low = max(low, float(reference.energy[0]))
        high = min(high, float(reference.energy[-1]))
    if not references:  # nothing is fitted; the one column serves the mean of a pixel
        return Basis(centre=0.0, degree=0, references=(), curves=(), window=(low, high))
    return Basis(
        centre=float(np.mean([r.edge for r in references])),
        degree=settings.degree,
        references=references,
        curves=tuple(Akima1DInterpolator(r.energy, r.mu) for r in references),
        window=(low, high),
    )


def fixed_pixels(rois: NDArray[np.float32]) -> NDArray[np.int32]:
    """Pixels (...), OD, in fixed point; what is not finite is `INVALID`."""
    scaled = np.clip(rois, -_MOST_OD, _MOST_OD)
    scaled *= np.float32(1 / PIXEL)  # exact, as it is a power of two
    np.rint(scaled, out=scaled)
    scaled[~np.isfinite(rois)] = INVALID
    return scaled.astype(np.int32)


def weights(sigma: float, od: Array) -> Array:
    """Weights of ROIs of optical density `od` (P,) in a frame with pixel noise `sigma`, OD.

    The noise is that of counting: the background of a frame, whose noise is measured, has hardly
    any optical density, and an absorber that of fewer counts.
    """
    base = sigma if np.isfinite(sigma) and sigma > 0 else _UNKNOWN_SIGMA
    variance = base**2 / background_noise(od)
    return np.clip(SIGMA**2 / variance, _LEAST_WEIGHT, _MOST_WEIGHT)


def background_noise(od: Array) -> Array:
    """Variance of the background over that of what has optical density `od`, 0 to 1."""
    return 2 / (1 + np.exp(np.clip(od, 0.0, 6.0)))


def fixed_rows(rows: Array, weight: Array) -> NDArray[np.int64]:
    """Weighted rows (..., K) in fixed point."""
    return np.rint(rows * weight[..., None] / ROW).astype(np.int64)
