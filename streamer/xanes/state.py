"""What is remembered of the spectra of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


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

    Attributes
    ----------
    frame, revision : (n,) int64. energy : (n,) eV. time : (n,) s.
    od : (n,) mean over the mask, OD. around : (n,) median of what surrounds it, OD or NaN.
    sigma : (n,) noise of a pixel, OD. area : (n,) px^2 or NaN.
    rows : (n, K) of the design. weighted : (n, K) int64, with their weights, fixed point.
    """

    frame: NDArray[np.int64]
    revision: NDArray[np.int64]
    energy: Array
    time: Array
    od: Array
    around: Array
    sigma: Array
    area: Array
    rows: Array
    weighted: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Particle:
    """One particle.

    Attributes
    ----------
    sums : (K, S, S) int64, weighted sums of its ROIs, fixed point.
    missing : (S, S) int32, frames in which a pixel had no value.
    mask : (S, S) bool, pixels that belong to it; around : those that surround it; mask_at : number
        of its frames when they were drawn.
    sampling : its frames. told : of them, the revision that was told last, by frame.
    maps_at : different energies when its maps were told last; maps : how often they were told.
    """

    sums: NDArray[np.int64]
    missing: NDArray[np.int32]
    mask: Mask
    around: Mask
    mask_at: int
    sampling: Sampling
    told: Mapping[int, int] = field(default_factory=dict)
    maps_at: int = 0
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


def no_frames(columns: int) -> Sampling:
    """The sampling of a particle that has not been seen yet; the design has K columns."""
    whole, real = np.zeros(0, np.int64), np.zeros(0)
    return Sampling(
        frame=whole,
        revision=whole,
        energy=real,
        time=real,
        od=real,
        around=real,
        sigma=real,
        area=real,
        rows=np.zeros((0, columns)),
        weighted=np.zeros((0, columns), np.int64),
    )
