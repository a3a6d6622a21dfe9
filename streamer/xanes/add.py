"""ROIs of a frame into the state, in place of those of an earlier revision."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...models.arrays import Array
from ..results import FrameResult, ParticleResult, Status
from .basis import SIGMA, Basis, fixed_pixels, fixed_rows, weights
from .settings import XanesSettings
from .state import Sampling, Seen, XanesState, unseen
from .sums import outdated

_FOLLOWED = frozenset({"tentative", "tracked", "coasting"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """ROIs of one frame that can be used, and the sampling of each particle of this frame alone."""

    result: FrameResult
    seen: Seen
    samplings: tuple[Sampling, ...]


def arrival(
    state: XanesState, result: FrameResult, basis: Basis, settings: XanesSettings
) -> Arrival:
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
    seen = Seen(
        particles=tuple(p.particle for p in usable),
        images=fixed_pixels(rois),
        rows=fixed_rows(row, weight),
    )
    area = np.array([p.area for p in usable])
    return Arrival(result=result, seen=seen, samplings=_samplings(result, seen, row, weight, area))


def _samplings(
    result: FrameResult, seen: Seen, row: Array, weight: Array, area: Array
) -> tuple[Sampling, ...]:
    whole = np.empty((len(area), 1, 2 + len(row)), np.int64)
    whole[:, 0, 0], whole[:, 0, 1], whole[:, 0, 2:] = result.frame, result.revision, seen.rows
    real = np.full((len(area), 1, 6 + len(row)), np.nan)
    real[:, 0, 0], real[:, 0, 1] = result.energy, result.time
    real[:, 0, 2], real[:, 0, 3], real[:, 0, 6:] = SIGMA / np.sqrt(weight), area, row
    return tuple(Sampling(whole=w, real=r) for w, r in zip(whole, real, strict=True))


def put(state: XanesState, new: Arrival, basis: Basis, settings: XanesSettings) -> XanesState:
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
