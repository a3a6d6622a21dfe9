"""Reference spectra of pure phases."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from ...models.arrays import Array
from ..errors import ConfigError
from .curve import Curve, make_curve, pre_edge_line, steepest
from .edge import find_edges
from .settings import XanesSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
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


def make_reference(name: str, energy: Array, mu: Array, settings: XanesSettings) -> Reference:
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
    raw = Reference(name=name, energy=energy, mu=mu, edge=_edge(name, curve, mu))
    return _normalised(raw, settings) if settings.normalise_references else raw


def digest(references: tuple[Reference, ...]) -> str:
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


def _normalised(raw: Reference, settings: XanesSettings) -> Reference:
    curve = make_curve(raw.energy, raw.edge, settings)
    line = pre_edge_line(raw.energy, raw.energy, raw.edge, settings)
    if curve is None or line is None:
        raise ConfigError(f"{raw.name}: does not span its edge at {raw.edge:.0f} eV")
    step = float(curve.step @ raw.mu)
    return replace(raw, mu=(raw.mu - line @ raw.mu) / step)
