"""The mask of one particle, at half of its own contrast.

The contour lies where the density is half-way between the particle just inside its rim and its
surroundings just outside, each as a function of direction. It therefore stays where it is when
the contrast of the particle changes with energy, and when one side of it changes more than
another.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, binary_fill_holes, binary_opening, label

Mask = NDArray[np.bool_]
Map = NDArray[np.float32]
_SECTORS = 32
_BAND = (0.45, 0.80)
_REACH = 1.35
_CORE = 0.6
_RAGGED = 0.3
_TENDRIL = 0.12


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Surroundings of one particle on the grid of a level.

    Attributes
    ----------
    flat : (h, w) float32, OD above the coarse background.
    own : (h, w) bool, cells that may belong to the particle.
    free : (h, w) bool, valid cells that belong to nobody (nor touch anybody else).
    valid : (h, w) bool.
    """

    flat: Map
    own: Mask
    free: Mask
    valid: Mask


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """A refined mask and what the rim is like; lengths in cells.

    Attributes
    ----------
    share : (h, w) float32, share of each cell that is inside, 0..1.
    contrast : mean density inside above the surroundings, OD.
    sharpness : mean slope at the contour, times radius, over contrast.
    noise : rms of the surroundings, OD.
    closed : share of directions in which density falls from inside to outside as it should.
    texture : rms inside, about a dome, over contrast; clouds are lumpy.
    compact : 4 pi area / perimeter^2; 1 is a disc, ragged clouds are below 0.6.
    """

    share: Map
    contrast: float
    sharpness: float
    noise: float
    closed: float
    compact: float
    texture: float


@dataclass(frozen=True, slots=True)
class _Polar:
    """Direction and distance of each cell from the centre, relative to the outline."""

    index: NDArray[np.intp]
    part: Map
    distance: Map
    radius: Map
    mean_radius: float

    def spread(self, sectors: NDArray[np.float64]) -> Map:
        """Value per sector to value per cell, linear in between."""
        after = np.roll(sectors, -1)
        return (sectors[self.index] * (1 - self.part) + after[self.index] * self.part).astype(
            np.float32
        )

    def mean(self, values: Map, where: Mask, floor: float) -> NDArray[np.float64]:
        """Mean per sector, smooth around the particle, over the cells `where`."""
        nearest = (self.index[where] + (self.part[where] > 0.5)) % _SECTORS
        count = np.bincount(nearest, minlength=_SECTORS)
        total = np.bincount(nearest, values[where], minlength=_SECTORS)
        overall = total.sum() / max(count.sum(), 1)
        prior = floor * max(count.sum(), 1) / _SECTORS
        return (_WIDE @ total + prior * overall) / (_WIDE @ count + prior)


def refine(window: Window, start: Mask, rim_level: float, rounds: int) -> Outline | None:
    """Find the contour at half contrast.

    Parameters
    ----------
    window : surroundings of the particle.
    start : (h, w) first guess of its mask.
    rim_level : contour, 0 at the surroundings, 1 just inside the rim.
    rounds : how often contour and levels are brought into line with each other.

    Returns
    -------
    None if nothing is left, or only a ragged cloud.
    """
    gradient = _gradient(window.flat)
    share = start.astype(np.float32)
    outline = None
    for n in range(rounds):
        outline = _round(window, share, rim_level, gradient)
        if outline is None or outline.compact < _RAGGED:
            return None
        share = outline.share
        if n == rounds - 1:
            outline = replace(outline, share=_without_holes(share))
    return outline


def _round(window: Window, share: Map, rim_level: float, gradient: Map) -> Outline | None:
    polar = _polar(share)
    if polar is None:
        return None
    q = polar.distance / polar.radius
    band = window.own & (q > _BAND[0]) & (q < _BAND[1])
    beyond = polar.distance - polar.radius
    gap = max(2.0, 0.08 * polar.mean_radius)
    ring = window.free & (beyond > gap) & (beyond < gap + max(4.0, 0.3 * polar.mean_radius))
    if band.sum() < 4 or ring.sum() < _SECTORS:
        return None
    outside = polar.mean(window.flat, ring, 0.3)
    inside = polar.mean(window.flat, band, 0.1)
    contrast = float(np.median(inside - outside))
    if contrast <= 0:
        return None
    step = np.clip(inside - outside, 0.5 * contrast, 2.0 * contrast)
    excess = window.flat - polar.spread(outside + rim_level * step)
    inner = window.own & ((excess > 0) & (q < _REACH) | (q < _CORE))
    # What is thinner than this is a tendril along a neighbour or a cloud, not the particle.
    thin = max(1, round(_TENDRIL * polar.mean_radius))
    body = _main_part(binary_opening(inner, iterations=thin))
    floor = 0.1 * contrast / polar.mean_radius
    edge = np.clip(0.5 + excess / np.maximum(gradient, floor), 0, 1)
    near = binary_dilation(body) & window.own
    new = np.where(near, edge, 0).astype(np.float32)
    new[body & (q < _CORE)] = 1
    rim = near & (np.abs(excess) < 0.5 * gradient) & (q > _CORE)
    slope = float(gradient[rim].mean()) if rim.any() else 0.0
    return Outline(
        share=new,
        contrast=contrast,
        sharpness=slope * polar.mean_radius / contrast,
        noise=float(np.std(window.flat[ring] - polar.spread(outside)[ring])),
        closed=float(np.mean(inside - outside > 0.4 * contrast)),
        texture=_texture(window.flat, window.own & (q < _BAND[1]), q) / contrast,
        compact=4 * np.pi * float(new.sum()) / max(float(_gradient(new).sum()), 1e-6) ** 2,
    )


def _texture(flat: Map, core: Mask, q: Map) -> float:
    """Rms of what is left of the inside when its radial trend is taken out, OD."""
    values, square = flat[core], q[core] ** 2
    values, square = values - values.mean(), square - square.mean()
    trend = (values * square).sum() / max(float((square**2).sum()), 1e-9)
    return float(np.sqrt(np.mean((values - trend * square) ** 2)))


def _gradient(flat: Map) -> Map:
    gy, gx = np.gradient(flat)
    return np.hypot(gy, gx)


def _polar(share: Map) -> _Polar | None:
    area = float(share.sum())
    if area < 4:
        return None
    y, x = np.indices(share.shape, dtype=np.float32)
    dy, dx = y - (share * y).sum() / area, x - (share * x).sum() / area
    angle = (np.arctan2(dy, dx) / (2 * np.pi) + 1.0) % 1.0 * _SECTORS
    index = angle.astype(np.intp) % _SECTORS
    part = (angle - np.floor(angle)).astype(np.float32)
    nearest = (index + (part > 0.5)) % _SECTORS
    # A sector of area A and angle a reaches to sqrt(2 A / a).
    sectors = np.bincount(nearest.ravel(), share.ravel(), minlength=_SECTORS)
    reach = np.sqrt(_NARROW @ sectors * _SECTORS / np.pi)
    mean = float(np.sqrt(area / np.pi))
    polar = _Polar(index, part, np.hypot(dy, dx), share, mean)
    radius = polar.spread(np.maximum(reach, 0.3 * mean))
    return _Polar(index, part, polar.distance, radius, mean)


def _circulant(taps: tuple[float, ...]) -> NDArray[np.float64]:
    apart = np.abs(np.subtract.outer(np.arange(_SECTORS), np.arange(_SECTORS)))
    weights = np.array([*taps, 0.0])
    return weights[np.minimum(np.minimum(apart, _SECTORS - apart), len(taps))]


_WIDE = _circulant((0.3, 0.2, 0.1, 0.05))
_NARROW = _circulant((0.5, 0.25))


def _main_part(mask: Mask) -> Mask:
    """The largest connected component."""
    labels, count = label(mask)
    if count <= 1:
        return mask
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    return labels == areas.argmax()


def _without_holes(share: Map) -> Map:
    solid = binary_fill_holes(share > 0.5)
    hole = solid & (share <= 0.5)
    ring = solid & ~binary_dilation(~solid)
    return np.where(hole | ring, np.float32(1), share)
