"""Analytic Ni K-edge spectra of a layered oxide cathode in two oxidation states.

The shapes follow measured NiO / LiNiO2 pairs: an arctan edge, a Lorentzian white line, a small
pre-edge peak and a damped oscillation above the edge; the charged state lies 1.5 to 2 eV higher.
Absorption is relative: 1 is the plateau above the edge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

NI_K_EDGE = 8333.0
"""Ni K-edge energy of the metal, eV."""

EDGE_REGION = (8336.0, 8358.0)
"""Energies between which the absorption of the particles climbs (below / at / above), eV."""

PRE_EDGE = 0.2
"""Absorption below the edge of a layered oxide, relative to that above it."""

# By eye, after energy lists of in-situ scans: eV, and share of the energies.
_WINDOWS = ((8180.0, 8320.0), (8322.0, 8372.0), (8376.0, 8580.0))
_SHARES = (0.13, 0.67, 0.20)


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeShape:
    """Parameters of one oxidation state.

    Attributes
    ----------
    edge : position of the arctan step, eV.
    edge_width : its half width, eV.
    white_line, white_line_width, white_line_height : centre eV, half width eV, height in steps.
    oscillation : amplitude of the first oscillation above the edge, in steps.
    """

    edge: float
    edge_width: float
    white_line: float
    white_line_width: float
    white_line_height: float
    oscillation: float


REDUCED = EdgeShape(
    edge=8341.2,
    edge_width=2.2,
    white_line=8347.6,
    white_line_width=3.4,
    white_line_height=0.85,
    oscillation=0.05,
)
OXIDISED = EdgeShape(
    edge=8342.9,
    edge_width=2.4,
    white_line=8349.6,
    white_line_width=3.3,
    white_line_height=0.75,
    oscillation=0.05,
)


def absorption(
    energy: ArrayLike, shape: EdgeShape, pre_edge: float = PRE_EDGE
) -> NDArray[np.float64]:
    """Return the relative linear absorption of one oxidation state.

    Parameters
    ----------
    energy : eV, any shape.
    shape : the oxidation state.
    pre_edge : absorption below the edge, relative to that above it.

    Returns
    -------
    Same shape as `energy`, float64; about `pre_edge` below the edge and 1 above it.
    """
    e = np.asarray(energy, dtype=np.float64)
    step = 0.5 + np.arctan((e - shape.edge) / shape.edge_width) / np.pi
    line = shape.white_line_height / (1 + ((e - shape.white_line) / shape.white_line_width) ** 2)
    pre = 0.03 / (1 + ((e - NI_K_EDGE) / 1.2) ** 2)
    above = np.clip(e - shape.edge, 0.0, None)
    wave = shape.oscillation * np.exp(-above / 45.0) * np.sin(2 * np.pi * above / 34.0)
    victoreen = (NI_K_EDGE / e) ** 3
    return victoreen * (pre_edge + (1 - pre_edge) * (step + line + pre + wave * step))


def ni_edge_energies(n: int = 143) -> tuple[float, ...]:
    """List energies of a Ni K-edge scan: dense over the edge, sparse before and after.

    Parameters
    ----------
    n : number of energies, at least 1.

    Returns
    -------
    n increasing energies, eV, rounded to 0.01 eV.
    """
    if n < len(_WINDOWS):
        return tuple(np.round(np.linspace(8320.0, 8376.0, n + 2)[1:-1], 2).tolist())
    counts = [max(1, round(share * n)) for share in _SHARES]
    counts[1] = n - counts[0] - counts[2]
    parts = [np.linspace(lo, hi, k) for (lo, hi), k in zip(_WINDOWS, counts, strict=True)]
    return tuple(np.round(np.concatenate(parts), 2).tolist())
