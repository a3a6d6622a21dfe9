"""The mask of one particle, at half of its own contrast.

The contour lies where the density is half-way between the particle just inside its rim and its
surroundings just outside, each as a function of direction. It therefore stays where it is when
the contrast of the particle changes with energy, and when one side of it changes more than
another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .masks import Mask, grow, main_part, without_holes, without_tendrils
from .polar import SECTORS, Map, Polar, polar

_BAND = (0.55, 0.85)
_REACH = 1.2
_STEP = (0.7, 1.5)
_CORE = 0.6
_PROTRUSION = 1.25
_RAGGED = 0.45
_FEW = 4  # cells
_SETTLED = 0.03
_TENDRIL = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Surroundings of one particle on the grid of a level.

    Attributes
    ----------
    flat : (h, w) float32, OD above the coarse background.
    own : (h, w) bool, cells that may belong to the particle.
    free : (h, w) bool, valid cells that belong to nobody (nor touch anybody else).
    valid : (h, w) bool.
    least : contrast below which it is not worth while to go on, OD.
    """

    flat: Map
    own: Mask
    free: Mask
    valid: Mask
    least: float = 0.0


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


def refine(window: Window, start: Mask, rim_level: float, rounds: int) -> Outline | None:
    """Find the contour at half contrast.

    Parameters
    ----------
    window : surroundings of the particle.
    start : (h, w) first guess of its mask.
    rim_level : contour, 0 at the surroundings, 1 just inside the rim.
    rounds : how often contour and levels are brought into line with each other, at most.

    Returns
    -------
    None if nothing is left, or only something faint or a ragged cloud.
    """
    gradient = _gradient(window.flat)
    share = start.astype(np.float32)
    around = None
    area = float(share.sum())
    for n in range(rounds):
        around = _look_around(window, share)
        if around is None:
            return None
        share = _contour(window, around, rim_level, gradient)
        if _compactness(share) < _RAGGED:
            return None
        before, area = area, float(share.sum())
        if n > 0 and abs(area - before) < _SETTLED * area:
            break
    return None if around is None else _measure(window, around, _solid(share), gradient)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Around:
    """Levels inside and outside an outline, as functions of direction."""

    polar: Polar
    q: Map
    inside: NDArray[np.float64]
    outside: NDArray[np.float64]
    ring: Mask
    contrast: float


def _look_around(window: Window, share: Map) -> _Around | None:
    at = polar(share)
    if at is None:
        return None
    q = at.distance / at.radius
    band = window.own & (q > _BAND[0]) & (q < _BAND[1])
    beyond = at.distance - at.radius
    gap = max(2.0, 0.08 * at.mean_radius)
    ring = window.free & (beyond > gap) & (beyond < gap + max(4.0, 0.3 * at.mean_radius))
    if np.count_nonzero(band) < _FEW or np.count_nonzero(ring) < SECTORS:
        return None
    outside = at.mean(window.flat, ring, 0.3)
    inside = at.mean(window.flat, band, 0.1)
    contrast = float(np.sort(inside - outside)[SECTORS // 2])
    if contrast <= window.least:
        return None
    return _Around(polar=at, q=q, inside=inside, outside=outside, ring=ring, contrast=contrast)


def _contour(window: Window, around: _Around, rim_level: float, gradient: Map) -> Map:
    """Share of each cell that is inside the contour."""
    at, q, contrast = around.polar, around.q, around.contrast
    step = np.clip(around.inside - around.outside, _STEP[0] * contrast, _STEP[1] * contrast)
    excess = window.flat - at.spread(around.outside + rim_level * step)
    core = window.own & (q < _CORE)
    near = (q < _REACH) & (at.distance < _PROTRUSION * at.typical)
    inner = core | (window.own & (excess > 0) & near)
    # What is thinner than this is a tendril along a neighbour or a cloud, not the particle.
    thin = max(1, round(_TENDRIL * at.mean_radius))
    body = main_part(without_tendrils(inner, thin))
    # Distance from the contour, to first order: cells at the contour are inside in part.
    slope = np.maximum(gradient, np.float32(0.1 * contrast / at.mean_radius))
    share = np.clip(np.float32(0.5) + excess / slope, 0, 1).astype(np.float32, copy=False)
    share[~(grow(body) & window.own)] = 0
    share[body & core] = 1
    return share


def _measure(window: Window, around: _Around, share: Map, gradient: Map) -> Outline:
    at, q, contrast = around.polar, around.q, around.contrast
    rim = (share > 0) & (share < 1) & (q > _CORE)
    slope = float(gradient[rim].mean()) if rim.any() else 0.0
    beside = window.flat[around.ring] - around.outside[at.sector[around.ring]]
    return Outline(
        share=share,
        contrast=contrast,
        sharpness=slope * at.mean_radius / contrast,
        noise=float(np.sqrt(np.mean(beside**2))),
        closed=float(np.mean(around.inside - around.outside > 0.4 * contrast)),
        texture=_texture(window.flat, window.own & (q < _BAND[1]), q) / contrast,
        compact=_compactness(share),
    )


def _texture(flat: Map, core: Mask, q: Map) -> float:
    """Rms of what is left of the inside when its radial trend is taken out, OD."""
    values, square = flat[core], q[core] ** 2
    values, square = values - values.mean(), square - square.mean()
    trend = (values * square).sum() / max(float((square**2).sum()), 1e-9)
    return float(np.sqrt(np.mean((values - trend * square) ** 2)))


def _compactness(share: Map) -> float:
    perimeter = float(_gradient(share).sum())
    return 4 * np.pi * float(share.sum()) / max(perimeter, 1e-6) ** 2


def _gradient(values: Map) -> Map:
    """Length of the gradient by central differences; 0 at the rim of the window."""
    out = np.zeros_like(values)
    dy = values[2:, 1:-1] - values[:-2, 1:-1]
    dx = values[1:-1, 2:] - values[1:-1, :-2]
    out[1:-1, 1:-1] = np.sqrt(dy * dy + dx * dx)
    out *= np.float32(0.5)
    return out


def _solid(share: Map) -> Map:
    """Fill holes, also where they reach the cells at the contour."""
    inside = share > 0.5
    solid = without_holes(inside)
    if np.array_equal(solid, inside):
        return share
    hole = grow(solid & ~inside) & solid
    return np.where(hole, np.float32(1), share)
