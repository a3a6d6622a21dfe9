"""ROIs of a frame into the sums, and those of an earlier revision out of them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from ..results import FrameResult, ParticleResult, Status
from .basis import INVALID, SIGMA, Basis, fixed_pixels, fixed_rows, weights
from .settings import XanesSettings
from .state import Array, Particle, Sampling, Seen, XanesState, no_frames

_COLUMNS = tuple(item.name for item in fields(Sampling))
_FOLLOWED = frozenset({"tentative", "tracked", "coasting"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """ROIs of one frame that can be used; see `Seen` and `Sampling`."""

    result: FrameResult
    seen: Seen
    row: Array
    sigma: Array
    area: Array

    def at(self, index: int) -> dict[str, object]:
        """Entries of the sampling of the particle at an index."""
        return {
            "frame": self.result.frame,
            "revision": self.result.revision,
            "energy": self.result.energy,
            "time": self.result.time,
            "od": np.nan,
            "around": np.nan,
            "sigma": self.sigma[index],
            "area": self.area[index],
            "rows": self.row,
            "weighted": self.seen.rows[index],
        }


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
    return Arrival(
        result=result,
        seen=Seen(
            particles=tuple(p.particle for p in usable),
            images=fixed_pixels(rois),
            rows=fixed_rows(row, weight),
        ),
        row=row,
        sigma=SIGMA / np.sqrt(weight),
        area=np.array([p.area for p in usable]),
    )


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
    before = {} if old is None else {p: i for i, p in enumerate(old.particles)}
    after = {p: i for i, p in enumerate(new.seen.particles)}
    for number in sorted(before.keys() | after.keys()):
        particle = particles.get(number) or _unseen(new.seen.images.shape[-1], basis.size)
        if number in before and old is not None:
            particle = _changed(particle, old, before[number], sign=-1)
        if number in after:
            particle = _changed(particle, new.seen, after[number], sign=1)
            entry = new.at(after[number])
            sampling = _with_entry(particle.sampling, frame, entry)
        else:
            sampling = _without(particle.sampling, frame)
        particles[number] = replace(particle, sampling=sampling)
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


def _unseen(side: int, columns: int) -> Particle:
    return Particle(
        sums=np.zeros((columns, side, side), np.int64),
        missing=np.zeros((side, side), np.int32),
        mask=np.zeros((side, side), np.bool_),
        around=np.zeros((side, side), np.bool_),
        mask_at=0,
        sampling=no_frames(columns),
    )


def _changed(particle: Particle, seen: Seen, index: int, sign: int) -> Particle:
    """Add an ROI to the sums of a particle, or take it out of them."""
    image = seen.images[index]
    gone = image == INVALID
    missing = particle.missing
    if gone.any():
        image = np.where(gone, np.int32(0), image)
        missing = missing + sign * gone.astype(np.int32)
    sums = (sign * seen.rows[index])[:, None, None] * image.astype(np.int64)
    sums += particle.sums
    return replace(particle, sums=sums, missing=missing)


def _with_entry(sampling: Sampling, frame: int, entry: dict[str, object]) -> Sampling:
    known = np.flatnonzero(sampling.frame == frame)
    changed = {}
    for name in _COLUMNS:
        column, value = getattr(sampling, name), entry[name]
        if len(known):
            column = column.copy()
            column[known[0]] = value
        else:
            column = np.concatenate([column, np.asarray([value], column.dtype)])
        changed[name] = column
    return Sampling(**changed)


def _without(sampling: Sampling, frame: int) -> Sampling:
    kept = sampling.frame != frame
    return Sampling(**{name: getattr(sampling, name)[kept] for name in _COLUMNS})
