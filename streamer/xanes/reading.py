"""What the mean spectra of particles say: fraction, edge, white line; of all particles at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .basis import ROW, SIGMA, Basis
from .curve import Curve, distinct, make_curve, steepest
from .edge import Edges, find_edges
from .fit import covariance, excess, fractions, normal_matrix, solve
from .settings import XanesSettings
from .spectrum import contrast
from .state import Array, Particle

_LEAST_STEP_SIGMAS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the mean spectrum of a particle says; NaN where it says nothing.

    Attributes
    ----------
    edge : about where its edge is, eV; curve : operators for its energies there.
    others : see `SpectrumRow`.
    """

    n_energies: int
    edge: float = np.nan
    curve: Curve | None = None
    fraction: float = np.nan
    fraction_sigma: float = np.nan
    edge_energy: float = np.nan
    edge_energy_sigma: float = np.nan
    edge_inflection: float = np.nan
    white_line: float = np.nan
    white_line_height: float = np.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spectrum:
    """Of one particle: energies (n,) eV, contrast (n,) and its counting noise (n,), OD."""

    energy: Array
    od: Array
    sigma: Array
    rows: Array
    weighted: NDArray[np.int64]
    pixels: int


def read(
    particles: Mapping[int, Particle], basis: Basis, settings: XanesSettings
) -> dict[int, Reading]:
    """Read fraction, edge and white line off the mean spectra of particles, by number."""
    spectra = {number: _spectrum(particle) for number, particle in particles.items()}
    counts = _counts(spectra)
    readings = {number: Reading(n_energies=n) for number, n in counts.items()}
    readings = _with_edges(readings, spectra, basis, settings)
    return _with_fractions(readings, spectra) if basis.references else readings


def _spectrum(particle: Particle) -> _Spectrum:
    sampling, od = particle.sampling, contrast(particle)
    known = np.isfinite(od)
    pixels = max(int(np.count_nonzero(particle.mask)), 1)
    return _Spectrum(
        energy=sampling.energy[known],
        od=od[known],
        sigma=sampling.sigma[known] / np.sqrt(pixels),
        rows=sampling.rows[known],
        weighted=sampling.weighted[known],
        pixels=pixels,
    )


def _counts(spectra: Mapping[int, _Spectrum]) -> dict[int, int]:
    known: dict[bytes, int] = {}
    out = {}
    for number, spectrum in spectra.items():
        key = spectrum.energy.tobytes()
        if key not in known:
            known[key] = len(distinct(spectrum.energy)) if len(spectrum.energy) else 0
        out[number] = known[key]
    return out


def _with_edges(
    readings: Mapping[int, Reading],
    spectra: Mapping[int, _Spectrum],
    basis: Basis,
    settings: XanesSettings,
) -> dict[int, Reading]:
    out = dict(readings)
    alike: dict[tuple[bytes, float], list[int]] = {}
    told = basis.edge or settings.edge
    for number, spectrum in spectra.items():
        if len(spectrum.energy):
            edge = told or float(np.rint(steepest(spectrum.energy, spectrum.od)))
            alike.setdefault((spectrum.energy.tobytes(), edge), []).append(number)
    for (_, edge), numbers in alike.items():
        energies = spectra[numbers[0]].energy
        curve = make_curve(energies, edge, settings) if np.isfinite(edge) else None
        if curve is None:
            continue
        edges = find_edges(
            curve, np.stack([spectra[n].od for n in numbers], axis=1), settings.min_step
        )
        for column, number in enumerate(numbers):
            out[number] = _edge(out[number], curve, edges, column, spectra[number].sigma)
    return out


def _edge(reading: Reading, curve: Curve, edges: Edges, column: int, sigma: Array) -> Reading:
    unsure = float(np.sqrt(np.sum((curve.step * sigma) ** 2)))
    step = edges.step[column]
    if not np.isfinite(edges.energy[column]) or step < _LEAST_STEP_SIGMAS * unsure:
        return reading
    weights = curve.smooth[edges.index[column]] - 0.5 * curve.step
    noise = float(np.sqrt(np.sum((weights * sigma) ** 2)) / step)
    return replace(
        reading,
        edge=curve.edge,
        curve=curve,
        edge_energy=float(edges.energy[column]),
        edge_energy_sigma=noise / float(edges.sharpness[column]),
        edge_inflection=float(edges.inflection[column]),
        white_line=float(edges.white_line[column]),
        white_line_height=float(edges.white_height[column]),
    )


def _with_fractions(
    readings: Mapping[int, Reading], spectra: Mapping[int, _Spectrum]
) -> dict[int, Reading]:
    """Fit the references to all spectra that have more energies than the fit has columns."""
    numbers = [
        n
        for n, s in spectra.items()
        if readings[n].n_energies > s.rows.shape[1] < np.count_nonzero(s.weighted[:, 0])
    ]
    if not numbers:
        return dict(readings)
    chosen = [spectra[n] for n in numbers]
    normal = np.stack([normal_matrix(s.rows, s.weighted) for s in chosen])
    right = np.stack([(s.weighted.T * ROW) @ s.od for s in chosen], axis=1)
    coefficients = solve(normal, right)
    squares, freedom, pixels = np.array(
        [_residual(s, c) for s, c in zip(chosen, coefficients.T, strict=True)]
    ).T
    scale = np.maximum(excess(squares, freedom), 1.0)
    told = fractions(coefficients, covariance(normal), scale / pixels)
    out = dict(readings)
    for number, fraction, sigma in zip(numbers, told.fraction, told.sigma, strict=True):
        out[number] = replace(out[number], fraction=float(fraction), fraction_sigma=float(sigma))
    return out


def _residual(spectrum: _Spectrum, coefficients: Array) -> tuple[float, float, float]:
    """Weighted sum of squares, of noise of weight 1, degrees of freedom, and pixels averaged."""
    weight = spectrum.weighted[:, 0] * (ROW * spectrum.pixels / SIGMA**2)
    residual = spectrum.od - spectrum.rows @ coefficients
    freedom = np.count_nonzero(weight) - len(coefficients)
    return float(np.sum(weight * residual**2)), float(freedom), float(spectrum.pixels)
