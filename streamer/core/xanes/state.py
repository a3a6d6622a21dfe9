"""State of the spectra of one run, and the rows that are published of it.

Sums over frames are kept in fixed point (integers), which add up exactly: whatever is added can be
taken out again without a trace, in any order. A pixel counts 2**-22 OD (finer than float32 of an
optical density of 1), a weighted row of the design 2**-24; sums of 8000 frames of 2 OD stay below
2**63.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ....models.arrays import Array, Image, Mask

PIXEL = 2.0**-22
"""Unit in which pixels of ROIs are kept, OD."""
ROW = 2.0**-24
"""Unit in which weighted rows of the design are kept."""
INVALID = np.int32(-(2**31))
"""A pixel that has no value."""
_MOST_OD = 100.0  # int32 holds 2**31 * PIXEL = 512 OD; no detector counts e**-100
_BLOCK = 16  # frames: one matrix product of 16 costs hardly more than of one; by eye
_LOW_BITS = 13  # a float64 product is exact below 2**53; see `exact_product`


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectrumRow:
    """One energy of the spectrum of one particle, with the features of the spectrum so far.

    Attributes
    ----------
    particle, frame, revision : number of the particle, frame, and how often the pair was published
        before.
    energy : eV. time : data time, s.
    od, od_sigma : mean optical density over the particle, and its counting noise, OD.
    surroundings : median optical density around the particle, OD; NaN if the ROI shows none.
        Features of a spectrum are those of `od` without the surroundings.
    n_pixels : that the mean is over. n_energies : different ones so far.
    fraction, fraction_sigma : share of the oxidised phase at the moment at which the edge was
        crossed (see `mean_fractions`), and its standard error.
    enough : `fraction_sigma` is as small as was asked for.
    edge_energy, edge_energy_sigma, edge_inflection : half of the step, steepest place, eV.
    white_line, white_line_height : energy, eV, and height in edge steps.
    """

    particle: int
    frame: int
    revision: int
    energy: float
    time: float
    od: float
    od_sigma: float
    surroundings: float
    n_pixels: int
    n_energies: int
    fraction: float
    fraction_sigma: float
    enough: bool
    edge_energy: float
    edge_energy_sigma: float
    edge_inflection: float
    white_line: float
    white_line_height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MapsRow:
    """Maps (S, S) float32 of one particle, NaN outside of it.

    Attributes
    ----------
    n_energies : different ones that they are made of. n_pixels : of the particle.
    revision : how often they were published before. final : the run has stopped.
    time : data time, s.
    edge_energy, white_line : eV. white_line_height : edge steps. edge_step : OD.
    fraction, fraction_sigma : share of the oxidised phase, as if it did not change, and its
        standard error with that from the background beneath the particle.
    """

    particle: int
    n_energies: int
    n_pixels: int
    revision: int
    final: bool
    time: float
    edge_energy: Image
    white_line: Image
    white_line_height: Image
    edge_step: Image
    fraction: Image
    fraction_sigma: Image


@dataclass(frozen=True, slots=True, kw_only=True)
class XanesUpdate:
    """Spectrum and map rows produced by one update."""

    spectra: tuple[SpectrumRow, ...] = ()
    maps: tuple[MapsRow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameRois:
    """ROIs of one frame in fixed point.

    Attributes
    ----------
    particles : P of them, in the order of the arrays.
    images : (P, S, S) int32. rows : (P, K) int64, weighted rows of the design.
    """

    particles: tuple[int, ...]
    images: NDArray[np.int32]
    rows: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Frames of one particle, n of them, in the order in which they first came.

    Attributes
    ----------
    frame, revision : (n,) int64, of the run.
    energy : (n,) eV. time : (n,) data time, s. sigma : (n,) noise of a pixel, OD.
    area : (n,) px^2 or NaN. od : (n,) mean over the mask, OD.
    surroundings : (n,) median around the particle, OD or NaN.
    rows : (n, K) of the design. weighted : (n, K) int64, the same with weights, in fixed point.
    """

    frame: NDArray[np.int64]
    revision: NDArray[np.int64]
    energy: Array
    time: Array
    sigma: Array
    area: Array
    od: Array
    surroundings: Array
    rows: Array
    weighted: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Particle:
    """Spectrum and sums of one particle.

    Attributes
    ----------
    sums : (K, S, S) int64, weighted sums of its ROIs, fixed point.
    missing : (S, S) int32, frames in which a pixel had no value.
    pending : frames that `sums` and `missing` do not hold as they are now, each with the ROIs that
        they do hold of it, None if none; see `apply_pending`.
    mask, ring : (S, S) bool, pixels that belong to it, and those that surround it.
    mask_frames : number of its frames when they were drawn.
    mask_mean : (p,) mean of the pixels of the mask then, OD.
    sampling : its frames. published : revision that was published last, by frame.
    maps_energies : different energies when its maps were refreshed last; maps_sigma : standard
        error of its fraction then; maps_edge : an edge was known then.
    maps_count : how often maps were published.
    """

    sums: NDArray[np.int64]
    missing: NDArray[np.int32]
    pending: Mapping[int, FrameRois | None] = field(default_factory=dict)
    mask: Mask
    ring: Mask
    mask_frames: int
    mask_mean: Array
    sampling: Sampling
    published: Mapping[int, int] = field(default_factory=dict)
    maps_energies: int = 0
    maps_sigma: float = float("inf")
    maps_edge: bool = False
    maps_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class XanesState:
    """Spectra of one run.

    Attributes
    ----------
    side : of the ROIs as they come, px; 0 before the first. binning : factor of their binning.
    frames : ROIs by frame. particles : by number. held_bytes : size of the ROIs that are kept.
    full : ROIs were refused for want of memory.
    """

    side: int = 0
    binning: int = 1
    frames: Mapping[int, FrameRois] = field(default_factory=dict)
    particles: Mapping[int, Particle] = field(default_factory=dict)
    held_bytes: int = 0
    full: bool = False


def fixed_pixels(rois: NDArray[np.float32]) -> NDArray[np.int32]:
    """Convert pixels (...), OD, to fixed point; what is not finite becomes `INVALID`."""
    scaled = np.clip(rois, -_MOST_OD, _MOST_OD)
    scaled *= np.float32(1 / PIXEL)  # exact, as it is a power of two
    np.rint(scaled, out=scaled)
    scaled[~np.isfinite(rois)] = INVALID
    return scaled.astype(np.int32)


def fixed_rows(rows: Array, weight: Array) -> NDArray[np.int64]:
    """Weight rows (..., K) of the design and convert them to fixed point."""
    return np.rint(rows * weight[..., None] / ROW).astype(np.int64)


def new_particle(side: int, columns: int) -> Particle:
    """Return a particle without frames; ROIs have S px, the design K columns."""
    empty, whole = np.zeros(0), np.zeros(0, np.int64)
    nowhere = np.zeros((side, side), np.bool_)
    return Particle(
        sums=np.zeros((columns, side, side), np.int64),
        missing=np.zeros((side, side), np.int32),
        mask=nowhere,
        ring=nowhere,
        mask_frames=0,
        mask_mean=empty,
        sampling=Sampling(
            frame=whole,
            revision=whole,
            energy=empty,
            time=empty,
            sigma=empty,
            area=empty,
            od=empty,
            surroundings=empty,
            rows=np.zeros((0, columns)),
            weighted=np.zeros((0, columns), np.int64),
        ),
    )


# Weighted sums over the ROIs of a particle, brought up to date a few frames at a time, exactly.
#
# Each frame adds its ROI, times its row of the design, to the normal equations of all pixels, and
# another revision takes out what the first one added. A block of frames in one matrix product costs
# hardly more than one of them, so that changes wait until the sums are needed or the block is full.


def add_pending(
    particle: Particle, number: int, frame: int, frames: Mapping[int, FrameRois]
) -> Particle:
    """Note that a frame of a particle is about to change; `frames` are those before the change."""
    if len(particle.pending) >= _BLOCK:
        particle = apply_pending(particle, number, frames)
    # an older entry wins: what the sums hold is what was first
    return replace(particle, pending={frame: frames.get(frame), **particle.pending})


def apply_pending(particle: Particle, number: int, frames: Mapping[int, FrameRois]) -> Particle:
    """Bring the sums of a particle up to date.

    Parameters
    ----------
    number : of the particle. frames : ROIs by frame, which the sums are to hold.
    """
    changes = [
        (rois, rois.particles.index(number), sign)
        for frame, before in particle.pending.items()
        for rois, sign in ((before, -1), (frames.get(frame), 1))
        if rois is not None and number in rois.particles
    ]
    if not changes:
        return replace(particle, pending={}) if particle.pending else particle
    pixels = np.empty((len(changes), particle.missing.size))
    for place, (rois, index, _) in enumerate(changes):
        pixels[place] = rois.images[index].reshape(-1)
    rows = np.stack([sign * rois.rows[index] for rois, index, sign in changes])
    gone, missing = pixels == INVALID, particle.missing
    if gone.any():
        pixels[gone] = 0
        signs = np.array([sign for *_, sign in changes], np.float64)
        missing = missing + (signs @ gone).astype(np.int32).reshape(missing.shape)
    sums = exact_product(rows, pixels).reshape(particle.sums.shape)
    sums += particle.sums
    return replace(particle, sums=sums, missing=missing, pending={})


def exact_product(rows: NDArray[np.int64], pixels: Array) -> NDArray[np.int64]:
    """Sum (K, p) over m of rows (m, K) times pixels (m, p), integers, without any rounding.

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
