"""What is remembered of the spectra of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...models.arrays import Array, Mask


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
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
    behind: Mapping[int, Seen | None] = field(default_factory=dict)
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
    seen: Mapping[int, Seen] = field(default_factory=dict)
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
