"""Weighted sums over the ROIs of a particle: brought up to date a few frames at a time, exactly.

Each frame adds its ROI, times its row of the design, to the normal equations of all pixels, and
another revision takes out what the first one added. A block of frames in one matrix product costs
hardly more than one of them, so that sums wait until they are needed or the block is full.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...models.arrays import Array
from .basis import INVALID
from .state import Particle, Sampling, Seen

_BLOCK = 16
_LOW_BITS = 13


def outdated(
    particle: Particle, number: int, frame: int, seen: Mapping[int, Seen], sampling: Sampling
) -> Particle:
    """Change the sampling of a particle in a frame; `seen` is what there was before."""
    if len(particle.behind) >= _BLOCK:
        particle = settled(particle, number, seen)
    before = {frame: seen.get(frame), **particle.behind}  # what the sums hold is what was first
    return replace(particle, behind=before, sampling=sampling)


def settled(particle: Particle, number: int, seen: Mapping[int, Seen]) -> Particle:
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
