"""What is remembered of the spectra of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ....models.arrays import Array, Mask
from .basis import INVALID

_BLOCK = 16
_LOW_BITS = 13


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedFrame:
    """ROIs of one frame, as they were added.

    Attributes
    ----------
    particles : P of them, in the order of the arrays.
    images : (P, S, S) int32, fixed point. rows : (P, K) int64, weighted rows, fixed point.
    """

    particles: tuple[int, ...]
    images: NDArray[np.int32]
    rows: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Frames of one particle, n of them, in the order in which they first came.

    Two tables rather than ten columns: a frame more is two arrays more.

    Attributes
    ----------
    whole : (n, 2 + K) int64. real : (n, 6 + K). The properties are what their columns hold.
    """

    whole: NDArray[np.int64]
    real: Array

    @property
    def frame(self) -> NDArray[np.int64]:
        """Of the run (n,)."""
        return self.whole[:, 0]

    @property
    def revision(self) -> NDArray[np.int64]:
        """That was added (n,)."""
        return self.whole[:, 1]

    @property
    def weighted(self) -> NDArray[np.int64]:
        """Rows (n, K) of the design with their weights, fixed point."""
        return self.whole[:, 2:]

    @property
    def energy(self) -> Array:
        """Energies (n,), eV."""
        return self.real[:, 0]

    @property
    def time(self) -> Array:
        """Data times (n,), s."""
        return self.real[:, 1]

    @property
    def sigma(self) -> Array:
        """Noise (n,) of a pixel, OD."""
        return self.real[:, 2]

    @property
    def area(self) -> Array:
        """Areas (n,), px^2 or NaN."""
        return self.real[:, 3]

    @property
    def od(self) -> Array:
        """Means (n,) over the mask, OD."""
        return self.real[:, 4]

    @property
    def around(self) -> Array:
        """Medians (n,) of what surrounds it, OD or NaN."""
        return self.real[:, 5]

    @property
    def rows(self) -> Array:
        """Rows (n, K) of the design."""
        return self.real[:, 6:]

    def with_values(self, places: NDArray[np.intp], od: Array, around: Array) -> Sampling:
        """The same with other `od` (m,) and `around` (m,) of the frames at some places (m,)."""
        real = self.real.copy()
        real[places, 4], real[places, 5] = od, around
        return Sampling(whole=self.whole, real=real)


@dataclass(frozen=True, slots=True, kw_only=True)
class Particle:
    """One particle.

    Attributes
    ----------
    sums : (K, S, S) int64, weighted sums of its ROIs, fixed point.
    missing : (S, S) int32, frames in which a pixel had no value.
    behind : frames in which `sums` and `missing` are not up to date, each with what they hold of
        it, None if nothing; see `settled`.
    mask : (S, S) bool, pixels that belong to it; around : those that surround it; mask_at : number
        of its frames when they were drawn; usual : (p,) mean of the pixels of the mask then, OD.
    sampling : its frames. told : of them, the revision that was told last, by frame.
    maps_at : different energies when its maps were told last; maps_sigma : standard error of its
        fraction then; maps_edge : whether an edge was known; maps : how often they were told.
    """

    sums: NDArray[np.int64]
    missing: NDArray[np.int32]
    behind: Mapping[int, AddedFrame | None] = field(default_factory=dict)
    mask: Mask
    around: Mask
    mask_at: int
    usual: Array
    sampling: Sampling
    told: Mapping[int, int] = field(default_factory=dict)
    maps_at: int = 0
    maps_sigma: float = float("inf")
    maps_edge: bool = False
    maps: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class XanesState:
    """Of one run.

    Attributes
    ----------
    side : of the ROIs as they come, px; 0 before the first. binning : how they are binned.
    seen : by frame. particles : by number. held : bytes of the ROIs that are kept.
    full : ROIs were refused for want of memory.
    """

    side: int = 0
    binning: int = 1
    seen: Mapping[int, AddedFrame] = field(default_factory=dict)
    particles: Mapping[int, Particle] = field(default_factory=dict)
    held: int = 0
    full: bool = False


def unseen(side: int, columns: int) -> Particle:
    """A particle of which there is no frame yet; ROIs have S px, the design K columns."""
    return Particle(
        sums=np.zeros((columns, side, side), np.int64),
        missing=np.zeros((side, side), np.int32),
        mask=np.zeros((side, side), np.bool_),
        around=np.zeros((side, side), np.bool_),
        mask_at=0,
        usual=np.zeros(0),
        sampling=Sampling(
            whole=np.zeros((0, 2 + columns), np.int64), real=np.zeros((0, 6 + columns))
        ),
    )


# Weighted sums over the ROIs of a particle: brought up to date a few frames at a time, exactly.
#
# Each frame adds its ROI, times its row of the design, to the normal equations of all pixels, and
# another revision takes out what the first one added. A block of frames in one matrix product costs
# hardly more than one of them, so that sums wait until they are needed or the block is full.


def outdated(
    particle: Particle, number: int, frame: int, seen: Mapping[int, AddedFrame], sampling: Sampling
) -> Particle:
    """Change the sampling of a particle in a frame; `seen` is what there was before."""
    if len(particle.behind) >= _BLOCK:
        particle = settled(particle, number, seen)
    before = {frame: seen.get(frame), **particle.behind}  # what the sums hold is what was first
    return replace(particle, behind=before, sampling=sampling)


def settled(particle: Particle, number: int, seen: Mapping[int, AddedFrame]) -> Particle:
    """Bring the sums of a particle up to date.

    Parameters
    ----------
    number : of the particle. seen : ROIs by frame, which the sums are to hold.
    """
    changes = [
        (item, item.particles.index(number), sign)
        for frame, before in particle.behind.items()
        for item, sign in ((before, -1), (seen.get(frame), 1))
        if item is not None and number in item.particles
    ]
    if not changes:
        return replace(particle, behind={}) if particle.behind else particle
    pixels = np.empty((len(changes), particle.missing.size))
    for place, (item, index, _) in enumerate(changes):
        pixels[place] = item.images[index].reshape(-1)
    rows = np.stack([sign * item.rows[index] for item, index, sign in changes])
    gone, missing = pixels == INVALID, particle.missing
    if gone.any():
        pixels[gone] = 0
        signs = np.array([sign for *_, sign in changes], np.float64)
        missing = missing + (signs @ gone).astype(np.int32).reshape(missing.shape)
    sums = product(rows, pixels).reshape(particle.sums.shape)
    sums += particle.sums
    return replace(particle, sums=sums, missing=missing, behind={})


def product(rows: NDArray[np.int64], pixels: Array) -> NDArray[np.int64]:
    """Sums (K, p) over m of rows (m, K) times pixels (m, p), integers, without any rounding.

    Products of integers as floating-point numbers are fast, and exact below 2**53: rows go in two
    parts of few bits each.
    """
    high = rows >> _LOW_BITS
    parts = np.concatenate([high, rows - (high << _LOW_BITS)], axis=1).T
    found = parts.astype(np.float64) @ pixels
    out = found[: len(found) // 2].astype(np.int64)
    out <<= _LOW_BITS
    out += found[len(found) // 2 :].astype(np.int64)
    return out
