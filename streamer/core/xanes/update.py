"""Update spectra and maps of particles with the aligned ROIs of a frame.

>>> state = init()
>>> state, rows = update(state, result, basis, settings)   # each frame, each revision
>>> state = revise(state, result, basis, settings)         # the same without rows
>>> rows = finish(state, basis, settings)                  # at the stop of the run
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray

from ....models.arrays import Array
from ..results import FrameResult, ParticleResult, Status
from .fit import SIGMA, Basis, weights
from .maps import make_maps
from .settings import XanesSettings
from .spectrum import SpectrumFeatures, analyse_spectra, update_spectra
from .state import (
    FrameRois,
    Particle,
    Sampling,
    SpectrumRow,
    XanesState,
    XanesUpdate,
    add_pending,
    fixed_pixels,
    fixed_rows,
    new_particle,
)

_FEATURES = {f.name for f in fields(SpectrumFeatures)} & {f.name for f in fields(SpectrumRow)}
_FOLLOWED = frozenset({"tentative", "tracked", "coasting"})
_FIRST_SIGMA = 0.1  # of the fraction, for the first maps; by eye


def init() -> XanesState:
    """Return the state before the first frame of a run."""
    return XanesState()


def update(
    state: XanesState, result: FrameResult, basis: Basis, settings: XanesSettings
) -> tuple[XanesState, XanesUpdate]:
    """Add a frame, or another revision of one, and return what is known now.

    Parameters
    ----------
    state : of the run.
    result : of the frame; what an earlier revision of it has added is taken out again, exactly.
    basis : what spectra are fitted with.

    Returns
    -------
    The state after it, and the rows to publish: one of each particle that the frame shows, and
    maps of those of which more is known than their last ones said.
    """
    after = revise(state, result, basis, settings)
    rois = after.frames.get(result.frame)
    if after is state or rois is None:
        return after, XanesUpdate()
    after = update_spectra(after, rois.particles, result.frame)
    particles = dict(after.particles)
    features = analyse_spectra({p: particles[p] for p in rois.particles}, basis, settings)
    rows, maps = [], []
    for number, own in features.items():
        particle = particles[number]
        index = int(np.flatnonzero(particle.sampling.frame == result.frame)[0])
        row = _spectrum_row(number, particle, index, own, settings)
        published = {**particle.published, row.frame: row.revision}
        particles[number] = replace(particle, published=published)
        rows.append(row)
    for number in _due_maps(particles, features, settings):
        own, particle = features[number], particles[number]
        made = make_maps(number, particle, after, own, basis, settings)
        particles[number] = replace(
            particle,
            maps_energies=own.n_energies,
            maps_sigma=own.fraction_sigma if np.isfinite(own.fraction_sigma) else np.inf,
            maps_edge=own.operators is not None,
            maps_count=particle.maps_count + (made is not None),
        )
        maps += [made] if made is not None else []
    after = replace(after, particles=particles)
    return after, XanesUpdate(spectra=tuple(rows), maps=tuple(maps))


def finish(state: XanesState, basis: Basis, settings: XanesSettings) -> XanesUpdate:
    """Return all spectra once more, each of one mask for all of its energies, and all maps."""
    state = update_spectra(state, state.particles, None)
    features = analyse_spectra(state.particles, basis, settings)
    rows = tuple(
        _spectrum_row(number, particle, index, features[number], settings)
        for number, particle in state.particles.items()
        for index in np.argsort(particle.sampling.frame)
    )
    maps = (
        make_maps(number, particle, state, features[number], basis, settings)
        for number, particle in state.particles.items()
    )
    return XanesUpdate(
        spectra=rows, maps=tuple(replace(item, final=True) for item in maps if item is not None)
    )


def revise(
    state: XanesState, result: FrameResult, basis: Basis, settings: XanesSettings
) -> XanesState:
    """Add a frame, or replace what an earlier revision of it has added, without any rows."""
    usable = _usable_particles(state, result, settings)
    frame, old = result.frame, state.frames.get(result.frame)
    if old is None and not usable:
        return state
    if not state.side:
        side = len(usable[0].roi)
        state = replace(state, side=side, binning=max(1, -(-side // settings.map_px)))
    rois, samples = _fixed_rois(state, result, usable, basis)
    held = state.held_bytes + rois.images.nbytes - (0 if old is None else old.images.nbytes)
    if old is None and held > settings.memory_mb * 1e6:
        return replace(state, full=True)
    particles = dict(state.particles)
    places = {number: place for place, number in enumerate(rois.particles)}
    for number in sorted(places.keys() | set(() if old is None else old.particles)):
        particle = particles.get(number) or new_particle(rois.images.shape[-1], rois.rows.shape[1])
        particle = add_pending(particle, number, frame, state.frames)
        sampling = _with_frame(particle.sampling, frame, samples, places.get(number))
        particles[number] = replace(particle, sampling=sampling)
    frames = {**state.frames, frame: rois}
    return replace(state, frames=frames, particles=particles, held_bytes=held)


def _usable_particles(
    state: XanesState, result: FrameResult, settings: XanesSettings
) -> list[ParticleResult]:
    """Return the particles of a frame whose ROIs can be used."""
    blurred = "blurred" in result.reason.split(";")
    if blurred or result.status is Status.SKIPPED or not np.isfinite(result.energy):
        return []
    return [
        p
        for p in result.particles
        if p.state in _FOLLOWED
        and p.roi.size
        and len(p.roi) == (state.side or len(p.roi))
        and np.all(p.sigma <= settings.max_sigma)
        and np.isfinite(p.roi).any()
    ]


def _fixed_rois(
    state: XanesState, result: FrameResult, usable: list[ParticleResult], basis: Basis
) -> tuple[FrameRois, Sampling]:
    """Return P usable ROIs in fixed point, and a sampling (P,) of this frame by particle."""
    empty = np.zeros((0, state.side, state.side), np.float32)
    rois = _binned(np.stack([p.roi for p in usable]) if usable else empty, state.binning)
    weight = weights(result.noise, _central_mean(rois))
    row = basis.rows(np.array([result.energy]))[0]
    fixed, count = fixed_rows(row, weight), len(usable)
    numbers = tuple(p.particle for p in usable)
    return FrameRois(particles=numbers, images=fixed_pixels(rois), rows=fixed), Sampling(
        frame=np.full(count, result.frame),
        revision=np.full(count, result.revision),
        energy=np.full(count, result.energy),
        time=np.full(count, result.time),
        sigma=SIGMA / np.sqrt(weight),
        area=np.array([p.area for p in usable]),
        od=np.full(count, np.nan),
        surroundings=np.full(count, np.nan),
        rows=np.broadcast_to(row, (count, len(row))),
        weighted=fixed,
    )


def _binned(rois: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Average ROIs (P, S, S) over squares to (P, s, s).

    A square with a pixel that is not known is not known; what is left over at the far sides is not
    used.
    """
    if factor == 1:
        return rois
    side = rois.shape[-1] // factor
    cut = rois[:, : side * factor, : side * factor]
    return cut.reshape(len(rois), side, factor, side, factor).mean(axis=(2, 4))


def _central_mean(rois: NDArray[np.float32]) -> Array:
    """Average (P,) the innermost quarter of ROIs, where the particles are; 0 where unknown."""
    side = rois.shape[-1]
    part = rois[:, side * 3 // 8 : side * 5 // 8 + 1, side * 3 // 8 : side * 5 // 8 + 1]
    known = np.isfinite(part)
    total = np.where(known, part, 0.0).sum(axis=(1, 2), dtype=np.float64)
    return total / np.maximum(known.sum(axis=(1, 2)), 1)


def _with_frame(sampling: Sampling, frame: int, new: Sampling, place: int | None) -> Sampling:
    """Replace a frame by the entry of `new` at a place, or remove it if the place is None."""
    same = sampling.frame == frame
    columns = {}
    for name in Sampling.__dataclass_fields__:
        column = getattr(sampling, name)
        if place is None:
            columns[name] = column[~same]
            continue
        value = getattr(new, name)[place : place + 1]
        if same.any():
            columns[name] = column.copy()
            columns[name][same] = value
        else:
            columns[name] = np.concatenate([column, value])
    return Sampling(**columns)


def _spectrum_row(
    number: int, particle: Particle, index: int, features: SpectrumFeatures, settings: XanesSettings
) -> SpectrumRow:
    sampling, pixels = particle.sampling, int(np.count_nonzero(particle.mask))
    frame = int(sampling.frame[index])
    published = particle.published.get(frame, -1)
    return SpectrumRow(
        particle=number,
        frame=frame,
        revision=max(published + 1, int(sampling.revision[index])),
        energy=float(sampling.energy[index]),
        time=float(sampling.time[index]),
        od=float(sampling.od[index]),
        surroundings=float(sampling.surroundings[index]),
        od_sigma=float(sampling.sigma[index] / np.sqrt(max(pixels, 1))),
        n_pixels=pixels,
        enough=features.fraction_sigma <= settings.enough_sigma,
        **{name: getattr(features, name) for name in _FEATURES},
    )


def _due_maps(
    particles: Mapping[int, Particle],
    features: Mapping[int, SpectrumFeatures],
    settings: XanesSettings,
) -> list[int]:
    """Choose the particles whose maps are refreshed: those that wait longest, a few in each frame.

    Maps are refreshed when more is known than the last ones said, not by the clock.
    """
    waited: dict[int, int] = {}
    for number, own in features.items():
        last, edge = particles[number], own.operators is not None
        energies = own.n_energies - last.maps_energies
        if energies < settings.soonest or not (edge or own.fraction_sigma <= _FIRST_SIGMA):
            continue
        better = own.fraction_sigma * settings.gain <= last.maps_sigma
        if better or (edge and not last.maps_edge) or energies >= settings.every:
            waited[number] = energies
    ready = sorted(waited, key=lambda number: -waited[number])
    return ready[: 1 + len(features) // settings.every]
