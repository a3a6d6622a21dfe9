"""The mean spectrum of a particle: its mask, its values over it and what surrounds it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .basis import INVALID, PIXEL
from .mask import particle_mask, surroundings
from .state import Array, Particle, Seen, XanesState


def refreshed(state: XanesState, numbers: Iterable[int], frame: int | None) -> XanesState:
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
        frames = particle.sampling.frame
        if len(frames) and (frame is None or len(frames) >= 2 * particle.mask_at):
            particle = _masked(particle, state.binning)
        else:
            frames = frames[frames == frame]
        particles[number] = _measured(particle, number, frames, state.seen)
    return replace(state, particles=particles)


def contrast(particle: Particle) -> Array:
    """Optical density (n,) of a particle above that of its surroundings."""
    return particle.sampling.od - offsets(particle)


def offsets(particle: Particle) -> Array:
    """What is taken off all pixels of each of n frames, OD: the surroundings, 0 without any."""
    around = particle.sampling.around
    known = np.isfinite(around)
    usual = float(np.median(around[known])) if known.any() else 0.0
    return np.where(known, around, usual)


def _masked(particle: Particle, binning: int) -> Particle:
    area = particle.sampling.area
    known = np.isfinite(area)
    usual = float(np.median(area[known])) if known.any() else float("nan")
    mean = mean_image(particle, np.ones(particle.mask.shape, np.bool_)).reshape(particle.mask.shape)
    mask = particle_mask(mean, usual / binning**2)
    around = surroundings(mask, np.isfinite(mean))
    return replace(particle, mask=mask, around=around, mask_at=len(area))


def mean_image(particle: Particle, pixels: NDArray[np.bool_]) -> Array:
    """Mean optical density (p,) of some pixels, NaN in those that miss half of the frames."""
    count = len(particle.sampling.frame)
    weight = int(particle.sampling.weighted[:, 0].sum())
    missing = particle.missing[pixels]
    known = (2 * missing < count) & (weight > 0)
    share = np.where(known, 1 - missing / max(count, 1), 1.0)
    return np.where(known, particle.sums[0][pixels] * PIXEL / max(weight, 1) / share, np.nan)


def _measured(
    particle: Particle, number: int, frames: NDArray[np.int64], seen: Mapping[int, Seen]
) -> Particle:
    """Average the ROIs of some frames over the mask, and take the median of what is around it.

    Where pixels have no value (hot ones, or those outside the frame) the others are raised by what
    these have of the mean image: a particle whose reacted side is not seen is not another particle.
    """
    sampling = particle.sampling
    od, around = sampling.od.copy(), sampling.around.copy()
    for frame in frames:
        roi = seen[int(frame)]
        pixels = roi.images[roi.particles.index(number)]
        row = sampling.frame == frame
        od[row] = _average(pixels[particle.mask], particle)
        around[row] = _median(pixels[particle.around])
    return replace(particle, sampling=replace(sampling, od=od, around=around))


def _average(values: NDArray[np.int32], particle: Particle) -> float:
    known = values != INVALID
    if not known.any():
        return float("nan")
    mean = float(values[known].sum(dtype=np.int64)) * PIXEL / np.count_nonzero(known)
    if known.all():
        return mean
    image = mean_image(particle, particle.mask)
    usual = image[known].mean()
    return float(mean * image.mean() / usual) if usual > 0 else float("nan")


def _median(values: NDArray[np.int32]) -> float:
    known = values[values != INVALID]
    if 2 * len(known) < len(values) or not len(known):
        return float("nan")
    middle = len(known) // 2
    return float(np.partition(known, middle)[middle]) * PIXEL
