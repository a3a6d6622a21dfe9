"""The mean spectrum of a particle: its mask, its values over it and what surrounds it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_cdt, gaussian_filter
from skimage.measure import label as connected

from ....models.arrays import Array, Mask
from .basis import INVALID, PIXEL
from .state import AddedFrame, Particle, XanesState, settled

_REDRAWN = 4
_REDRAWN_TOGETHER = 8
_LEVEL = 0.2
_REACH = 1.35
_ROI_EXTENT = 1.4
_GROW_PX = 1
_GAP_PX = 3
_RING_PX = 8
_FEWEST_AROUND = 64


def refreshed(state: XanesState, numbers: Collection[int], frame: int | None) -> XanesState:
    """Bring masks and mean spectra of some particles up to date.

    A mask is drawn again when there are four times as many frames, and all values of the spectrum
    with it; of several particles whose turn has come, a few in each frame.

    Parameters
    ----------
    frame : the one that has changed; None: draw all masks again.
    """
    particles = dict(state.particles)
    drawn = set(numbers) if frame is None else _due(particles, numbers)
    for number in numbers:
        particle = particles[number]
        frames = particle.sampling.frame
        places = np.arange(len(frames))
        if number in drawn and len(frames):
            particle = _masked(settled(particle, number, state.seen), state.binning)
        else:
            places = places[frames == frame]
        particles[number] = _measured(particle, number, places, state.seen)
    return replace(state, particles=particles)


def _due(particles: Mapping[int, Particle], numbers: Collection[int]) -> set[int]:
    """Particles that have no mask, and those whose masks are oldest."""
    old = [
        number
        for number in numbers
        if len(particles[number].sampling.frame) >= _REDRAWN * particles[number].mask_at > 0
    ]
    old.sort(key=lambda number: particles[number].mask_at)
    new = {number for number in numbers if not particles[number].mask_at}
    return new | set(old[: 1 + len(numbers) // _REDRAWN_TOGETHER])


def contrast(particle: Particle) -> Array:
    """Optical density (n,) of a particle above that of its surroundings."""
    return particle.sampling.od - offsets(particle)


def offsets(particle: Particle) -> Array:
    """What is taken off all pixels of each of n frames, OD: the surroundings, 0 without any."""
    around = particle.sampling.around
    known = np.isfinite(around)
    if known.all():
        return around
    usual = float(np.median(around[known])) if known.any() else 0.0
    return np.where(known, around, usual)


def _masked(particle: Particle, binning: int) -> Particle:
    """Draw the mask of a particle whose sums are up to date."""
    area = particle.sampling.area
    known = np.isfinite(area)
    usual = float(np.median(area[known])) if known.any() else float("nan")
    mean = _mean_image(particle)
    mask = particle_mask(mean, usual / binning**2)
    around = surroundings(mask, np.isfinite(mean))
    return replace(particle, mask=mask, around=around, mask_at=len(area), usual=mean[mask])


def _mean_image(particle: Particle) -> Array:
    """Mean optical density (S, S), NaN in pixels that miss half of the frames."""
    count = len(particle.sampling.frame)
    weight = int(particle.sampling.weighted[:, 0].sum())
    known = (2 * particle.missing < count) & (weight > 0)
    share = np.where(known, 1 - particle.missing / max(count, 1), 1.0)
    return np.where(known, particle.sums[0] * PIXEL / max(weight, 1) / share, np.nan)


def _measured(
    particle: Particle, number: int, places: NDArray[np.intp], seen: Mapping[int, AddedFrame]
) -> Particle:
    """Average the ROIs of some frames over the mask, and take the median of what is around it.

    Where pixels have no value (hot ones, or those outside the frame) the others are raised by what
    these have of the mean image: a particle whose reacted side is not seen is not another particle.
    """
    if not len(places):
        return particle
    sampling = particle.sampling
    shown = [seen[int(frame)] for frame in sampling.frame[places]]
    images = [item.images[item.particles.index(number)] for item in shown]
    od = _averages(np.array([i[particle.mask] for i in images]), particle.usual)
    around = _medians(np.array([i[particle.around] for i in images]))
    return replace(particle, sampling=sampling.with_values(places, od, around))


def _averages(values: NDArray[np.int32], usual: Array) -> Array:
    """Means (n,) of pixels (n, p), OD, of which those `usual` (p,) are the usual values."""
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
    """Medians (n,) of pixels (n, p), OD, NaN where half of them have no value."""
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


# Which pixels of its ROI belong to a particle.


def particle_mask(mean: Array, area: float) -> Mask:
    """Pixels around the centre that are darker than what surrounds the particle.

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


def surroundings(mask: Mask, known: Mask) -> Mask:
    """Pixels (S, S) around a particle that are not of it, empty if the ROI hardly shows any.

    What they have in common with the particle (the brightness of a frame, an illumination that is
    not quite that of its flat) is taken off its spectrum.
    """
    away = _steps(mask)
    ring = (away > _GAP_PX) & (away <= _GAP_PX + _RING_PX) & known
    return ring if np.count_nonzero(ring) >= _FEWEST_AROUND else np.zeros(mask.shape, np.bool_)


def _steps(mask: Mask) -> NDArray[np.int32]:
    """Steps (S, S) along the axes from each pixel to the nearest of the mask; -1 if it is empty."""
    return np.asarray(distance_transform_cdt(~mask, metric="taxicab"), np.int32)
