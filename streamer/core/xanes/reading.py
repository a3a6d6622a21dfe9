"""What the mean spectra of particles say: fraction, edge, white line; of all particles at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ....models.arrays import Array
from .basis import ROW, Basis
from .curve import Curve, Edges, distinct, find_edges, make_curve, steepest
from .fit import mean_fractions
from .settings import XanesSettings
from .spectrum import contrast
from .state import Particle

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
class _Spectra:
    """Of P particles that are seen in the same n frames.

    Attributes
    ----------
    numbers : of the particles. pixels : (P,) that their means are over.
    energy : (n,) eV. time : (n,) s. rows : (n, K) of the design. weight : (n, P) of a pixel.
    od, sigma : (n, P) contrast and its counting noise, OD.
    """

    numbers: tuple[int, ...]
    pixels: Array
    energy: Array
    time: Array
    rows: Array
    weight: Array
    od: Array
    sigma: Array


def read(
    particles: Mapping[int, Particle], basis: Basis, settings: XanesSettings
) -> dict[int, Reading]:
    """Read fraction, edge and white line off the mean spectra of particles, by number."""
    readings: dict[int, Reading] = {}
    for spectra in _alike(particles):
        count = len(distinct(spectra.energy)) if len(spectra.energy) else 0
        told = _fractions(spectra, count) if basis.references else {}
        own = {n: told.get(n, Reading(n_energies=count)) for n in spectra.numbers}
        readings |= _with_edges(own, spectra, basis, settings)
    return {number: readings[number] for number in particles}


def _alike(particles: Mapping[int, Particle]) -> Iterable[_Spectra]:
    """Spectra of particles, those together that are seen in the same frames."""
    groups: dict[bytes, list[tuple[int, Particle, Array, NDArray[np.bool_]]]] = {}
    for number, particle in particles.items():
        od = contrast(particle)
        known = np.isfinite(od)
        key = particle.sampling.frame[known].tobytes()
        groups.setdefault(key, []).append((number, particle, od, known))
    for members in groups.values():
        _, first, _, known = members[0]
        pixels = [max(int(np.count_nonzero(p.mask)), 1) for _, p, _, _ in members]
        first_column = [p.sampling.weighted[k, 0] for _, p, _, k in members]  # of the design, 1
        sigma = np.stack([p.sampling.sigma[k] for _, p, _, k in members], axis=1)
        yield _Spectra(
            numbers=tuple(number for number, *_ in members),
            pixels=np.array(pixels, np.float64),
            energy=first.sampling.energy[known],
            time=first.sampling.time[known],
            rows=first.sampling.rows[known],
            weight=ROW * np.stack(first_column, axis=1).astype(np.float64),
            od=np.stack([od[k] for _, _, od, k in members], axis=1),
            sigma=sigma / np.sqrt(pixels),
        )


def _with_edges(
    readings: Mapping[int, Reading], spectra: _Spectra, basis: Basis, settings: XanesSettings
) -> dict[int, Reading]:
    out = dict(readings)
    told = basis.edge or settings.edge
    near: dict[float, list[int]] = {}
    for column in range(len(spectra.numbers) if len(spectra.energy) else 0):
        edge = told or float(np.rint(steepest(spectra.energy, spectra.od[:, column])))
        near.setdefault(edge, []).append(column)
    for edge, columns in near.items():
        curve = make_curve(spectra.energy, edge, settings) if np.isfinite(edge) else None
        if curve is None:
            continue
        edges = find_edges(curve, spectra.od[:, columns], settings.min_step)
        for place, column in enumerate(columns):
            number, sigma = spectra.numbers[column], spectra.sigma[:, column]
            out[number] = _edge(out[number], curve, edges, place, sigma)
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


def _fractions(spectra: _Spectra, count: int) -> dict[int, Reading]:
    """Fit the references to spectra that have more energies than the fit has columns."""
    columns = spectra.rows.shape[1]
    if not count > columns < np.count_nonzero(spectra.rows.any(axis=1)):
        return {}
    told = mean_fractions(spectra.rows, spectra.weight, spectra.od, spectra.pixels, spectra.time)
    return {
        number: Reading(n_energies=count, fraction=float(fraction), fraction_sigma=float(sigma))
        for number, fraction, sigma in zip(spectra.numbers, told.fraction, told.sigma, strict=True)
    }
