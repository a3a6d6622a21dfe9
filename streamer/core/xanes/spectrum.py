"""Mean spectrum of a particle: its mask, its values, and what they say of edge and chemistry."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_cdt, gaussian_filter
from skimage.measure import label as connected

from ....models.arrays import Array, Mask
from .curve import Edges, SpectrumOperators, distinct, find_edges, make_operators, steepest
from .fit import Basis, mean_fractions
from .settings import XanesSettings
from .state import INVALID, PIXEL, ROW, FrameRois, Particle, XanesState, apply_pending

# By eye, but for the last two.
_REDRAWN = 4  # a mask is drawn again when there are so many times the frames
_REDRAWN_TOGETHER = 8  # of so many particles one in a frame, so that no frame waits for all
_LEVEL = 0.2  # of the contrast: below one half, to keep the rim, which reacts first
_REACH = 1.35  # radii: a particle is not round, but its neighbour is no part of it
_ROI_EXTENT = 1.4  # diameters along the side of an ROI, for particles without an area
_GROW_PX = 1  # blur of the optics
_GAP_PX = 3  # between a particle and its surroundings
_RING_PX = 8
_FEWEST_AROUND = 64  # their median has 1.25 / sqrt(64) = 0.16 of the noise of a pixel
_LEAST_STEP_SIGMAS = 5.0  # the usual threshold of a detection; 3 would pass one in 700 by chance


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectrumFeatures:
    """Fraction, edge and white line of a mean spectrum; NaN where they are not known.

    Attributes
    ----------
    edge : about where its edge is, eV; operators : for its energies there, None without an edge.
    others : see `SpectrumRow`.
    """

    n_energies: int
    edge: float = np.nan
    operators: SpectrumOperators | None = None
    fraction: float = np.nan
    fraction_sigma: float = np.nan
    edge_energy: float = np.nan
    edge_energy_sigma: float = np.nan
    edge_inflection: float = np.nan
    white_line: float = np.nan
    white_line_height: float = np.nan


def update_spectra(state: XanesState, numbers: Collection[int], frame: int | None) -> XanesState:
    """Bring masks and mean spectra of some particles up to date.

    A mask is drawn again when there are four times as many frames, and all values of the spectrum
    with it; of several particles whose turn has come, a few in each frame.

    Parameters
    ----------
    frame : the one that has changed; None: draw all masks again.
    """
    particles = dict(state.particles)
    drawn = set(numbers) if frame is None else _due_masks(particles, numbers)
    for number in numbers:
        particle = particles[number]
        frames = particle.sampling.frame
        places = np.arange(len(frames))
        if number in drawn and len(frames):
            particle = _draw_mask(apply_pending(particle, number, state.frames), state.binning)
        else:
            places = places[frames == frame]
        if len(places):
            particle = _measure(particle, number, places, state.frames)
        particles[number] = particle
    return replace(state, particles=particles)


def _due_masks(particles: Mapping[int, Particle], numbers: Collection[int]) -> set[int]:
    """Choose the particles that have no mask, and those whose masks are oldest."""
    old = [
        number
        for number in numbers
        if len(particles[number].sampling.frame) >= _REDRAWN * particles[number].mask_frames > 0
    ]
    old.sort(key=lambda number: particles[number].mask_frames)
    new = {number for number in numbers if not particles[number].mask_frames}
    return new | set(old[: 1 + len(numbers) // _REDRAWN_TOGETHER])


def _draw_mask(particle: Particle, binning: int) -> Particle:
    """Draw the mask of a particle whose sums are up to date.

    Pixels that miss half of the frames are not known.
    """
    sampling, count = particle.sampling, len(particle.sampling.frame)
    weight = int(sampling.weighted[:, 0].sum())
    known = (2 * particle.missing < count) & (weight > 0)
    share = np.where(known, 1 - particle.missing / max(count, 1), 1.0)
    mean = np.where(known, particle.sums[0] * PIXEL / max(weight, 1) / share, np.nan)
    areas = sampling.area[np.isfinite(sampling.area)]
    area = float(np.median(areas)) if len(areas) else float("nan")
    mask = particle_mask(mean, area / binning**2)
    ring = surrounding_ring(mask, np.isfinite(mean))
    return replace(particle, mask=mask, ring=ring, mask_frames=count, mask_mean=mean[mask])


def _measure(
    particle: Particle, number: int, places: NDArray[np.intp], frames: Mapping[int, FrameRois]
) -> Particle:
    """Average the ROIs of some frames over the mask, and take the median of what is around it.

    Where pixels have no value (hot ones, or those outside the frame) the others are raised by what
    these have of the mean image: a particle whose reacted side is not seen is not another particle.
    """
    shown = [frames[int(frame)] for frame in particle.sampling.frame[places]]
    images = [rois.images[rois.particles.index(number)] for rois in shown]
    od, around = particle.sampling.od.copy(), particle.sampling.surroundings.copy()
    od[places] = _means(np.array([i[particle.mask] for i in images]), particle.mask_mean)
    around[places] = _medians(np.array([i[particle.ring] for i in images]))
    return replace(particle, sampling=replace(particle.sampling, od=od, surroundings=around))


def _means(values: NDArray[np.int32], usual: Array) -> Array:
    """Average pixels (n, p) to (n,), OD; `usual` (p,) are those of the mean image."""
    if not values.size:
        return np.full(len(values), np.nan)
    total = values.sum(axis=1, dtype=np.int64)
    means = total * (PIXEL / values.shape[1])
    for place in np.flatnonzero(values.min(axis=1) == INVALID):
        known = values[place] != INVALID
        share = usual[known].sum() / usual.mean()
        whole = values[place][known].sum(dtype=np.int64) * PIXEL
        means[place] = whole / share if share > 0 else np.nan
    return means


def _medians(values: NDArray[np.int32]) -> Array:
    """Take medians (n,) of pixels (n, p), OD, NaN where half of them have no value."""
    size = values.shape[1]
    if not size:
        return np.full(len(values), np.nan)
    middle = np.partition(values, size // 2, axis=1)[:, size // 2]
    middles = np.asarray(middle * PIXEL, np.float64)
    for place in np.flatnonzero(values.min(axis=1) == INVALID):
        gone = np.count_nonzero(values[place] == INVALID)  # they are the lowest numbers
        known = np.partition(values[place], gone + (size - gone) // 2)[gone + (size - gone) // 2]
        middles[place] = known * PIXEL if 2 * gone <= size else np.nan
    return middles


# Pixels of an ROI that belong to the particle, and those that surround it.


def particle_mask(mean: Array, area: float) -> Mask:
    """Find the pixels around the centre that are darker than what surrounds the particle.

    The mask is one for all energies, and somewhat larger than the particle: surroundings add a
    smooth background to a spectrum, while rims that are left out would take the material near the
    surface, which reacts first, out of it.

    Parameters
    ----------
    mean : (S, S) mean optical density of the aligned ROIs, NaN where unknown.
    area : of the particle, px^2 of `mean`; NaN if unknown.

    Returns
    -------
    (S, S) bool; empty if there is no contrast at the centre.
    """
    side = len(mean)
    radius = float(np.sqrt(area / np.pi)) if area > 0 else side / (2 * _ROI_EXTENT)
    known = np.isfinite(mean)
    axis = np.arange(side) - (side - 1) / 2
    distance = np.hypot(axis[:, None], axis[None])
    centre, around = known & (distance <= 0.6 * radius), known & (distance > 1.2 * radius)
    if not known.any():  # no energy so far is one that the fit uses
        return distance <= radius
    if not centre.any():
        return np.zeros(mean.shape, np.bool_)
    if not around.any():
        return known & (distance <= radius)
    smooth = gaussian_filter(np.where(known, mean, np.median(mean[around])), 1.0)
    inside, outside = np.median(smooth[centre]), np.median(smooth[around])
    near = known & (distance <= _REACH * radius)
    dark = near & (smooth > outside + _LEVEL * (inside - outside))
    parts = np.asarray(connected(dark, connectivity=1))
    votes = np.bincount(parts[centre & dark], minlength=2)
    if inside <= outside or not votes[1:].any():
        return np.zeros(mean.shape, np.bool_)
    return near & (_steps(parts == 1 + np.argmax(votes[1:])) <= _GROW_PX)


def surrounding_ring(mask: Mask, known: Mask) -> Mask:
    """Find the pixels (S, S) around a particle; none if the ROI hardly shows any.

    What they have in common with the particle (the brightness of a frame, an illumination that is
    not quite that of its flat) is taken off its spectrum.
    """
    away = _steps(mask)
    ring = (away > _GAP_PX) & (away <= _GAP_PX + _RING_PX) & known
    return ring if np.count_nonzero(ring) >= _FEWEST_AROUND else np.zeros(mask.shape, np.bool_)


def _steps(mask: Mask) -> NDArray[np.int32]:
    """Count steps (S, S) along the axes to the nearest pixel of the mask; -1 if it is empty."""
    return np.asarray(distance_transform_cdt(~mask, metric="taxicab"), np.int32)


# Features of the mean spectra of all particles at once.


@dataclass(frozen=True, slots=True, kw_only=True)
class _MeanSpectra:
    """Mean spectra of P particles that are seen in the same n frames.

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


def analyse_spectra(
    particles: Mapping[int, Particle], basis: Basis, settings: XanesSettings
) -> dict[int, SpectrumFeatures]:
    """Find fraction, edge and white line in the mean spectra of particles, by number."""
    found: dict[int, SpectrumFeatures] = {}
    for spectra in _alike(particles):
        count = len(distinct(spectra.energy)) if len(spectra.energy) else 0
        own = dict.fromkeys(spectra.numbers, SpectrumFeatures(n_energies=count))
        columns = spectra.rows.shape[1]
        # the fit needs more energies than it has columns, and as many that lie in its window
        if basis.references and count > columns < np.count_nonzero(spectra.rows.any(axis=1)):
            fit = mean_fractions(
                spectra.rows, spectra.weight, spectra.od, spectra.pixels, spectra.time
            )
            for number, share, sigma in zip(own, fit.fraction, fit.sigma, strict=True):
                own[number] = SpectrumFeatures(
                    n_energies=count, fraction=float(share), fraction_sigma=float(sigma)
                )
        found |= _with_edges(own, spectra, basis, settings) if count else own
    return {number: found[number] for number in particles}


def _alike(particles: Mapping[int, Particle]) -> Iterator[_MeanSpectra]:
    """Group the spectra of particles that are seen in the same frames."""
    groups: dict[bytes, list[tuple[int, Particle, Array, NDArray[np.bool_]]]] = {}
    for number, particle in particles.items():
        od = particle.sampling.od - offsets(particle.sampling.surroundings)
        known = np.isfinite(od)
        key = particle.sampling.frame[known].tobytes()
        groups.setdefault(key, []).append((number, particle, od, known))
    for members in groups.values():
        _, first, _, known = members[0]
        pixels = [max(int(np.count_nonzero(p.mask)), 1) for _, p, _, _ in members]
        first_column = [p.sampling.weighted[k, 0] for _, p, _, k in members]  # of the design, 1
        sigma = np.stack([p.sampling.sigma[k] for _, p, _, k in members], axis=1)
        yield _MeanSpectra(
            numbers=tuple(number for number, *_ in members),
            pixels=np.array(pixels, np.float64),
            energy=first.sampling.energy[known],
            time=first.sampling.time[known],
            rows=first.sampling.rows[known],
            weight=ROW * np.stack(first_column, axis=1).astype(np.float64),
            od=np.stack([od[k] for _, _, od, k in members], axis=1),
            sigma=sigma / np.sqrt(pixels),
        )


def offsets(surroundings: Array) -> Array:
    """Fill surroundings (n,) of frames that show none, OD, with their median; 0 without any.

    They are taken off all pixels of each frame.
    """
    known = np.isfinite(surroundings)
    if known.all():
        return surroundings
    usual = float(np.median(surroundings[known])) if known.any() else 0.0
    return np.where(known, surroundings, usual)


def _with_edges(
    features: Mapping[int, SpectrumFeatures],
    spectra: _MeanSpectra,
    basis: Basis,
    settings: XanesSettings,
) -> dict[int, SpectrumFeatures]:
    out = dict(features)
    expected = basis.edge or settings.edge
    near: dict[float, list[int]] = {}
    for column in range(len(spectra.numbers)):
        edge = expected or float(np.rint(steepest(spectra.energy, spectra.od[:, column])))
        near.setdefault(edge, []).append(column)
    for edge, columns in near.items():
        operators = make_operators(spectra.energy, edge, settings) if np.isfinite(edge) else None
        if operators is None:
            continue
        edges = find_edges(operators, spectra.od[:, columns], settings.min_step)
        for place, column in enumerate(columns):
            number, sigma = spectra.numbers[column], spectra.sigma[:, column]
            out[number] = _with_edge(out[number], operators, edges, place, sigma)
    return out


def _with_edge(
    features: SpectrumFeatures,
    operators: SpectrumOperators,
    edges: Edges,
    column: int,
    sigma: Array,
) -> SpectrumFeatures:
    """Add the edge of one spectrum, if its step is seen above its noise (n,)."""
    step_sigma = float(np.sqrt(np.sum((operators.step * sigma) ** 2)))
    step = edges.step[column]
    if not np.isfinite(edges.energy[column]) or step < _LEAST_STEP_SIGMAS * step_sigma:
        return features
    weights = operators.smooth[edges.index[column]] - 0.5 * operators.step
    noise = float(np.sqrt(np.sum((weights * sigma) ** 2)) / step)
    return replace(
        features,
        edge=operators.edge,
        operators=operators,
        edge_energy=float(edges.energy[column]),
        edge_energy_sigma=noise / float(edges.sharpness[column]),
        edge_inflection=float(edges.inflection[column]),
        white_line=float(edges.white_line[column]),
        white_line_height=float(edges.white_height[column]),
    )
