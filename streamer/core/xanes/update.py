"""Aligned frames in, spectra and maps of particles out.

>>> state = init()
>>> state, told = update(state, result, basis, settings)   # each frame, each revision
>>> state = revise(state, result, basis, settings)         # the same in silence
>>> told = finish(state, basis, settings)                  # at the stop of the run
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from ....models.arrays import Array
from ..results import FrameResult, ParticleResult, Status
from .basis import SIGMA, Basis, fixed_pixels, fixed_rows, weights
from .maps import enlarged, make_maps
from .reading import Reading, read
from .rows import MapsRow, SpectrumRow, XanesUpdate
from .settings import XanesSettings
from .spectrum import refreshed
from .state import AddedFrame, Particle, Sampling, XanesState, outdated, unseen

_SHARED = {f.name for f in fields(Reading)} & {f.name for f in fields(SpectrumRow)}
_FOLLOWED = frozenset({"tentative", "tracked", "coasting"})
_FIRST_SIGMA = 0.1


def init() -> XanesState:
    """State before the first frame of a run."""
    return XanesState()


def revise(
    state: XanesState, result: FrameResult, basis: Basis, settings: XanesSettings
) -> XanesState:
    """Take a frame, or another revision of one, into account and tell nothing of it."""
    return put(state, arrival(state, result, basis, settings), basis, settings)


def update(
    state: XanesState, result: FrameResult, basis: Basis, settings: XanesSettings
) -> tuple[XanesState, XanesUpdate]:
    """Take a frame, or another revision of one, into account.

    Parameters
    ----------
    state : of the run.
    result : of the frame; what an earlier revision of it has added is taken out again, exactly.
    basis : what spectra are fitted with.

    Returns
    -------
    The state after it, and what has become known: a row of each particle that the frame shows, and
    maps of those of which more is known than their last ones said.
    """
    after = revise(state, result, basis, settings)
    seen = after.seen.get(result.frame)
    if after is state or seen is None:
        return after, XanesUpdate()
    after = refreshed(after, seen.particles, result.frame)
    readings = read({p: after.particles[p] for p in seen.particles}, basis, settings)
    rows = tuple(
        _row(p, after.particles[p], _index(after.particles[p], result.frame), reading, settings)
        for p, reading in readings.items()
    )
    after = _told(after, rows)
    turn = {p: readings[p] for p in due(after.particles, readings, settings)}
    maps = _maps(after, turn, basis, settings)
    return _mapped(after, turn, maps), XanesUpdate(spectra=rows, maps=maps)


def finish(state: XanesState, basis: Basis, settings: XanesSettings) -> XanesUpdate:
    """Tell all spectra once more, each of one mask for all of its energies, and all maps."""
    state = refreshed(state, state.particles, None)
    readings = read(state.particles, basis, settings)
    rows = tuple(
        _row(number, particle, index, readings[number], settings)
        for number, particle in state.particles.items()
        for index in np.argsort(particle.sampling.frame)
    )
    maps = _maps(state, readings, basis, settings)
    return XanesUpdate(spectra=rows, maps=tuple(replace(item, final=True) for item in maps))


def _index(particle: Particle, frame: int) -> int:
    return int(np.flatnonzero(particle.sampling.frame == frame)[0])


def _row(
    number: int, particle: Particle, index: int, reading: Reading, settings: XanesSettings
) -> SpectrumRow:
    sampling = particle.sampling
    frame, pixels = int(sampling.frame[index]), int(np.count_nonzero(particle.mask))
    told = particle.told.get(frame, -1)
    return SpectrumRow(
        particle=number,
        frame=frame,
        revision=max(told + 1, int(sampling.revision[index])),
        energy=float(sampling.energy[index]),
        time=float(sampling.time[index]),
        od=float(sampling.od[index]),
        surroundings=float(sampling.around[index]),
        od_sigma=float(sampling.sigma[index] / np.sqrt(max(pixels, 1))),
        n_pixels=pixels,
        enough=reading.fraction_sigma <= settings.enough_sigma,
        **{name: getattr(reading, name) for name in _SHARED},
    )


def _told(state: XanesState, rows: Iterable[SpectrumRow]) -> XanesState:
    particles = dict(state.particles)
    for row in rows:
        before = particles[row.particle]
        told = {**before.told, row.frame: row.revision}
        particles[row.particle] = replace(before, told=told)
    return replace(state, particles=particles)


def _says_something(reading: Reading) -> bool:
    return bool(np.isfinite(reading.fraction) or reading.curve is not None)


def _maps(
    state: XanesState, readings: Mapping[int, Reading], basis: Basis, settings: XanesSettings
) -> tuple[MapsRow, ...]:
    made = (
        make_maps(p, state.particles[p], state.seen, r, basis, settings)
        for p, r in readings.items()
        if _says_something(r)
    )
    return tuple(_at_scale(item, state.side) for item in made if item is not None)


def _at_scale(item: MapsRow, side: int) -> MapsRow:
    images = {
        f.name: enlarged(value, side)
        for f in fields(MapsRow)
        if isinstance(value := getattr(item, f.name), np.ndarray)
    }
    return replace(item, **images)


def _mapped(state: XanesState, turn: Mapping[int, Reading], maps: Iterable[MapsRow]) -> XanesState:
    """Remember of which particles maps were told, and that the turn of the others has passed."""
    particles = dict(state.particles)
    for number, reading in turn.items():
        particles[number] = turned(particles[number], reading)
    for item in maps:
        before = particles[item.particle]
        particles[item.particle] = replace(before, maps=before.maps + 1)
    return replace(state, particles=particles)


# ROIs of a frame into the state, in place of those of an earlier revision.


@dataclass(frozen=True, slots=True, kw_only=True)
class UsableRois:
    """ROIs of one frame that can be used, and the sampling of each particle of this frame alone."""

    result: FrameResult
    seen: AddedFrame
    samplings: tuple[Sampling, ...]


def arrival(
    state: XanesState, result: FrameResult, basis: Basis, settings: XanesSettings
) -> UsableRois:
    """Take the ROIs out of a result."""
    usable = [p for p in result.particles if _usable(p, state.side, settings.max_sigma)]
    blurred = "blurred" in result.reason.split(";")
    if blurred or result.status is Status.SKIPPED or not np.isfinite(result.energy):
        usable = []
    side = state.side or (len(usable[0].roi) if usable else 0)
    rois = np.stack([p.roi for p in usable]) if usable else np.zeros((0, side, side), np.float32)
    rois = binned(rois, state.binning if state.side else binning(side, settings))
    weight = weights(result.noise, _middle(rois))
    row = basis.rows(np.array([result.energy]))[0]
    seen = AddedFrame(
        particles=tuple(p.particle for p in usable),
        images=fixed_pixels(rois),
        rows=fixed_rows(row, weight),
    )
    area = np.array([p.area for p in usable])
    return UsableRois(
        result=result, seen=seen, samplings=_samplings(result, seen, row, weight, area)
    )


def _samplings(
    result: FrameResult, seen: AddedFrame, row: Array, weight: Array, area: Array
) -> tuple[Sampling, ...]:
    whole = np.empty((len(area), 1, 2 + len(row)), np.int64)
    whole[:, 0, 0], whole[:, 0, 1], whole[:, 0, 2:] = result.frame, result.revision, seen.rows
    real = np.full((len(area), 1, 6 + len(row)), np.nan)
    real[:, 0, 0], real[:, 0, 1] = result.energy, result.time
    real[:, 0, 2], real[:, 0, 3], real[:, 0, 6:] = SIGMA / np.sqrt(weight), area, row
    return tuple(Sampling(whole=w, real=r) for w, r in zip(whole, real, strict=True))


def put(state: XanesState, new: UsableRois, basis: Basis, settings: XanesSettings) -> XanesState:
    """Replace what was added of a frame, if anything, by what has arrived."""
    frame = new.result.frame
    old = state.seen.get(frame)
    if old is None and not new.seen.particles:
        return state
    held = state.held + new.seen.images.nbytes - (0 if old is None else old.images.nbytes)
    if old is None and held > settings.memory_mb * 1e6:
        return replace(state, full=True)
    particles = dict(state.particles)
    after = {p: i for i, p in enumerate(new.seen.particles)}
    for number in sorted(after.keys() | set(() if old is None else old.particles)):
        particle = particles.get(number) or unseen(new.seen.images.shape[-1], basis.size)
        sampling = (
            _with_entry(particle.sampling, new.samplings[after[number]])
            if number in after
            else _without(particle.sampling, frame)
        )
        particles[number] = outdated(particle, number, frame, state.seen, sampling)
    first = state.side == 0
    side = len(next(p.roi for p in new.result.particles if p.roi.size)) if first else state.side
    return replace(
        state,
        side=side,
        binning=binning(side, settings) if first else state.binning,
        seen={**state.seen, frame: new.seen},
        particles=particles,
        held=held,
    )


def binning(side: int, settings: XanesSettings) -> int:
    """Into how many pixels along each axis one goes."""
    return max(1, -(-side // settings.map_px))


def binned(rois: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Means (P, s, s) over squares of ROIs (P, S, S).

    A square with a pixel that is not known is not known; what is left over at the far sides is not
    used.
    """
    if factor == 1:
        return rois
    side = rois.shape[-1] // factor
    cut = rois[:, : side * factor, : side * factor]
    return cut.reshape(len(rois), side, factor, side, factor).mean(axis=(2, 4))


def _usable(particle: ParticleResult, side: int, max_sigma: float) -> bool:
    return (
        particle.state in _FOLLOWED
        and particle.roi.size > 0
        and (side == 0 or len(particle.roi) == side)
        and bool(np.all(particle.sigma <= max_sigma))
        and bool(np.isfinite(particle.roi).any())
    )


def _middle(rois: NDArray[np.float32]) -> Array:
    """Mean (P,) of the innermost part of ROIs, where the particles are; 0 where unknown."""
    side = rois.shape[-1]
    part = rois[:, side * 3 // 8 : side * 5 // 8 + 1, side * 3 // 8 : side * 5 // 8 + 1]
    known = np.isfinite(part)
    total = np.where(known, part, 0.0).sum(axis=(1, 2), dtype=np.float64)
    return total / np.maximum(known.sum(axis=(1, 2)), 1)


def _with_entry(sampling: Sampling, entry: Sampling) -> Sampling:
    known = np.flatnonzero(sampling.frame == entry.frame)
    if not len(known):
        return Sampling(
            whole=np.concatenate([sampling.whole, entry.whole]),
            real=np.concatenate([sampling.real, entry.real]),
        )
    whole, real = sampling.whole.copy(), sampling.real.copy()
    whole[known], real[known] = entry.whole, entry.real
    return Sampling(whole=whole, real=real)


def _without(sampling: Sampling, frame: int) -> Sampling:
    kept = sampling.frame != frame
    return Sampling(whole=sampling.whole[kept], real=sampling.real[kept])


# When maps of a particle are told again: when more is known than they said.


def due(
    particles: Mapping[int, Particle], readings: Mapping[int, Reading], settings: XanesSettings
) -> tuple[int, ...]:
    """Particles whose maps are told now: those that wait longest, a few in each frame."""
    waited = {p: r.n_energies - particles[p].maps_at for p, r in readings.items()}
    ready = [p for p, r in readings.items() if _wanted(particles[p], r, waited[p], settings)]
    ready.sort(key=lambda p: -waited[p])
    return tuple(ready[: 1 + len(readings) // settings.every])


def turned(particle: Particle, reading: Reading) -> Particle:
    """A particle whose turn it was: what was known then is what more is measured by."""
    sigma = reading.fraction_sigma
    return replace(
        particle,
        maps_at=reading.n_energies,
        maps_sigma=sigma if np.isfinite(sigma) else np.inf,
        maps_edge=reading.curve is not None,
    )


def _wanted(particle: Particle, reading: Reading, waited: int, settings: XanesSettings) -> bool:
    edge = reading.curve is not None
    if waited < settings.soonest or not (edge or reading.fraction_sigma <= _FIRST_SIGMA):
        return False
    better = reading.fraction_sigma * settings.gain <= particle.maps_sigma
    return better or (edge and not particle.maps_edge) or waited >= settings.every
