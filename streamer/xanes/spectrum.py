"""The mean spectrum of a particle: its mask, its values, and what is read off it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .basis import INVALID, PIXEL, ROW, SIGMA, Basis
from .curve import Curve, distinct, make_curve, steepest
from .edge import find_edges
from .fit import covariance, excess, fractions, normal_matrix, solve
from .mask import particle_mask
from .settings import XanesSettings
from .state import Array, Particle, Seen, XanesState

_LEAST_STEP_SIGMAS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the mean spectrum of a particle says; NaN where it says nothing.

    Attributes
    ----------
    edge : about where its edge is, eV; `curve` : operators for its energies there.
    others : see `SpectrumRow`.
    """

    n_energies: int
    edge: float
    curve: Curve | None
    fraction: float = np.nan
    fraction_sigma: float = np.nan
    edge_energy: float = np.nan
    edge_energy_sigma: float = np.nan
    edge_inflection: float = np.nan
    white_line: float = np.nan
    white_line_height: float = np.nan


class Curves:
    """Operators by energies and edge; particles of one scan share them."""

    def __init__(self, settings: XanesSettings) -> None:
        self._settings = settings
        self._known: dict[tuple[bytes, float], Curve | None] = {}

    def of(self, energies: Array, edge: float) -> Curve | None:
        """Operators for spectra at these energies (n,), eV."""
        key = energies.tobytes(), edge
        if key not in self._known:
            self._known[key] = make_curve(energies, edge, self._settings)
        return self._known[key]


def refreshed(
    state: XanesState, numbers: Iterable[int], frame: int | None
) -> XanesState:
    """Bring masks and mean spectra of some particles up to date.

    A mask is drawn again when the number of frames has doubled, and all values of the spectrum
    with it.

    Parameters
    ----------
    frame : the one that has changed; None: draw all masks again.
    """
    particles = dict(state.particles)
    for number in numbers:
        particle = particles[number]
        count = len(particle.sampling.frame)
        if count and (frame is None or count >= 2 * particle.mask_at):
            area = np.nanmedian(particle.sampling.area) if _areas(particle) else np.nan
            mask = particle_mask(_mean(particle), area / state.binning**2)
            particle = replace(particle, mask=mask, mask_at=count)
            frames = particle.sampling.frame
        else:
            frames = particle.sampling.frame[particle.sampling.frame == frame]
        particles[number] = _measured(particle, number, frames, state.seen)
    return replace(state, particles=particles)


def read(particle: Particle, basis: Basis, settings: XanesSettings, curves: Curves) -> Reading:
    """Read fraction, edge and white line off the mean spectrum of a particle."""
    sampling = particle.sampling
    known = np.isfinite(sampling.od)
    energies, od = sampling.energy[known], sampling.od[known]
    count = len(distinct(energies)) if len(energies) else 0
    reading = Reading(n_energies=count, edge=np.nan, curve=None)
    if count < 2:
        return reading
    reading = _edge(reading, energies, od, _sigmas(particle)[known], _Ask(basis, settings, curves))
    return _fraction(reading, particle) if basis.references else reading


def _sigmas(particle: Particle) -> Array:
    """Counting noise (n,) of the mean over the particle, OD."""
    return particle.sampling.sigma / np.sqrt(max(np.count_nonzero(particle.mask), 1))


@dataclass(frozen=True, slots=True)
class _Ask:
    basis: Basis
    settings: XanesSettings
    curves: Curves

    def edge(self, energies: Array, od: Array) -> float:
        known = self.basis.edge or self.settings.edge
        return float(np.rint(steepest(energies, od))) if known is None else known


def _edge(reading: Reading, energies: Array, od: Array, sigma: Array, ask: _Ask) -> Reading:
    edge = ask.edge(energies, od)
    curve = ask.curves.of(energies, edge) if np.isfinite(edge) else None
    if curve is None:
        return reading
    unsure = float(np.sqrt(np.sum((curve.step * sigma) ** 2)))
    least = max(ask.settings.min_step, _LEAST_STEP_SIGMAS * unsure)
    edges = find_edges(curve, od[:, None], least)
    if not np.isfinite(edges.energy[0]):
        return reading
    weights = curve.smooth[edges.index[0]] - 0.5 * curve.step
    noise = float(np.sqrt(np.sum((weights * sigma) ** 2)) / edges.step[0])
    return replace(
        reading,
        edge=edge,
        curve=curve,
        edge_energy=float(edges.energy[0]),
        edge_energy_sigma=noise / float(edges.sharpness[0]),
        edge_inflection=float(edges.inflection[0]),
        white_line=float(edges.white_line[0]),
        white_line_height=float(edges.white_height[0]),
    )


def _fraction(reading: Reading, particle: Particle) -> Reading:
    sampling = particle.sampling
    used = (sampling.weighted[:, 0] != 0) & np.isfinite(sampling.od)
    rows, weighted, od = sampling.rows[used], sampling.weighted[used], sampling.od[used]
    pixels = np.count_nonzero(particle.mask)
    if not pixels or not used.any() or len(distinct(sampling.energy[used])) <= rows.shape[1]:
        return reading
    normal = normal_matrix(rows, weighted)
    coefficients = solve(normal, ((weighted.T * ROW) @ od)[:, None])
    residual = od - rows @ coefficients[:, 0]
    expected = np.sum(weighted[:, 0] * (ROW * pixels / SIGMA**2) * residual**2, keepdims=True)
    scale = np.maximum(excess(expected, len(od) - rows.shape[1]), 1.0)
    told = fractions(coefficients, covariance(normal) / pixels, scale)
    return replace(reading, fraction=float(told.fraction[0]), fraction_sigma=float(told.sigma[0]))


def _areas(particle: Particle) -> bool:
    return bool(np.isfinite(particle.sampling.area).any())


def _mean(particle: Particle) -> Array:
    """Mean optical density (S, S) of the ROIs, NaN in pixels that miss half of them."""
    count = len(particle.sampling.frame)
    weight = int(particle.sampling.weighted[:, 0].sum())
    known = 2 * particle.missing < count
    share = np.where(known, 1 - particle.missing / count, 1.0)
    mean = particle.sums[0] * PIXEL / max(weight, 1) / share
    return np.where(known & (weight > 0), mean, np.nan)


def _measured(
    particle: Particle, number: int, frames: NDArray[np.int64], seen: Mapping[int, Seen]
) -> Particle:
    """Average the ROIs of some frames over the mask.

    Where pixels have no value (hot ones, or those outside the frame) the others are raised by what
    these have of the mean image: a particle whose reacted side is not seen is not another particle.
    """
    if not len(frames):
        return particle
    image = _mean(particle)[particle.mask] if particle.missing.any() else None
    od = particle.sampling.od.copy()
    for frame in frames:
        roi = seen[int(frame)]
        values = roi.images[roi.particles.index(number)][particle.mask]
        od[particle.sampling.frame == frame] = _average(values, image)
    return replace(particle, sampling=replace(particle.sampling, od=od))


def _average(values: NDArray[np.int32], image: Array | None) -> float:
    known = values != INVALID
    if not known.any():
        return float("nan")
    mean = float(values[known].sum(dtype=np.int64)) * PIXEL / np.count_nonzero(known)
    if image is None or known.all():
        return mean
    usual = image[known].mean()
    return float(mean * image.mean() / usual) if usual > 0 else float("nan")
