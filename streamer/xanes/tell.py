"""Aligned frames in, spectra and maps of particles out.

>>> state = init()
>>> state, told = update(state, result, basis, settings)   # each frame, each revision
>>> state = revise(state, result, basis, settings)         # the same in silence
>>> told = finish(state, basis, settings)                  # at the stop of the run
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace

import numpy as np

from ..results import FrameResult
from .add import arrival, put
from .basis import Basis
from .maps import enlarged, make_maps
from .reading import Reading, read
from .refresh import due, turned
from .rows import MapsRow, SpectrumRow, Told
from .settings import XanesSettings
from .spectrum import refreshed
from .state import Particle, XanesState

_SHARED = {f.name for f in fields(Reading)} & {f.name for f in fields(SpectrumRow)}


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
) -> tuple[XanesState, Told]:
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
        return after, Told()
    after = refreshed(after, seen.particles, result.frame)
    readings = read({p: after.particles[p] for p in seen.particles}, basis, settings)
    rows = tuple(
        _row(p, after.particles[p], _index(after.particles[p], result.frame), reading, settings)
        for p, reading in readings.items()
    )
    after = _told(after, rows)
    turn = {p: readings[p] for p in due(after.particles, readings, settings)}
    maps = _maps(after, turn, basis, settings)
    return _mapped(after, turn, maps), Told(spectra=rows, maps=maps)


def finish(state: XanesState, basis: Basis, settings: XanesSettings) -> Told:
    """Tell all spectra once more, each of one mask for all of its energies, and all maps."""
    state = refreshed(state, state.particles, None)
    readings = read(state.particles, basis, settings)
    rows = tuple(
        _row(number, particle, index, readings[number], settings)
        for number, particle in state.particles.items()
        for index in np.argsort(particle.sampling.frame)
    )
    maps = _maps(state, readings, basis, settings)
    return Told(spectra=rows, maps=tuple(replace(item, final=True) for item in maps))


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
