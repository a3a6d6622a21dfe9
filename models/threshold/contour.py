"""Masks of particles, each at half of its own contrast.

The contour lies where the density is half-way between the particle just inside its rim and its
surroundings just outside, each as a function of direction. It therefore stays where it is when
the contrast of the particle changes with energy, and when one side of it changes more than
another. Windows of several particles are refined at a time: they are so small that the time goes
into calls, not cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..arrays import Array, Image, Labels, Mask
from ..masks import grow, main_parts, without_holes, without_tendrils_each
from ..polar import SECTORS, Polar, polar, spread
from .pyramid import USABLE, CoarseBackground, Level, gaussian

# Lengths relative to the radius in a direction; all by eye.
_BAND = (0.55, 0.85)  # just inside the rim
_REACH = 1.2  # as far as the contour may move in one round
_STEP = (0.7, 1.5)  # contrast in a direction, relative to the median over all
_CORE = 0.6  # what belongs to the particle in any case
_PROTRUSION = 1.25
_TENDRIL = 0.2
_RAGGED = 0.45  # compactness below which it is a cloud
_FEW = 4  # cells
_SETTLED = 0.03  # change of the area after which no further round is worth while
_EVEN = 4  # sides of windows are multiples of it, so that few sizes occur
_SIGMA = 1.5  # of the finest level, cells, which is not smoothed as the others are


@dataclass(frozen=True, slots=True, kw_only=True)
class RefinedMask:
    """Refined mask and properties of its rim; lengths in cells.

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

    share: Image
    contrast: float
    sharpness: float
    noise: float
    closed: float
    compact: float
    texture: float


def refine(
    windows: Windows, start: Mask, rim_level: float, rounds: int
) -> list[RefinedMask | None]:
    """Find the contours of particles at half contrast.

    Parameters
    ----------
    windows : surroundings of the particles.
    start : (n, h, w) first guess of their masks.
    rim_level : contour, 0 at the surroundings, 1 just inside the rim.
    rounds : how often contour and levels are brought into line with each other, at most.

    Returns
    -------
    For each window None if nothing is left, or only something faint or a ragged cloud.
    """
    found: list[RefinedMask | None] = [None] * len(start)
    share = start.astype(np.float32)
    area = share.sum((1, 2))
    gradient = _gradient(windows.flat)
    active = np.arange(len(start))
    going = area >= _FEW
    for n in range(rounds):
        keep = np.flatnonzero(going)
        if not len(keep):
            break
        if len(keep) < len(active):
            active, share, area = active[keep], share[keep], area[keep]
            windows, gradient = windows.pick(keep), gradient[keep]
        levels, good = _rim_levels(windows, share)
        share = _contour(windows, levels, rim_level, gradient)
        before, area = area, share.sum((1, 2))
        good &= _compactness(share, area) >= _RAGGED
        settled = np.abs(area - before) < _SETTLED * area if n else np.zeros(len(area), bool)
        done = np.flatnonzero(good & (settled | (n == rounds - 1)))
        if len(done):
            outlines = _measure(windows, levels, share, gradient, done)
            for i, outline in zip(active[done], outlines, strict=True):
                found[i] = outline
        going = good & ~settled & (area >= _FEW)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _RimLevels:
    """Levels inside and outside of n masks, as functions of direction."""

    polar: Polar
    q: Image
    inside: Array
    outside: Array
    ring: Mask
    contrast: Array


def _rim_levels(windows: Windows, share: Image) -> tuple[_RimLevels, Mask]:
    """Measure the levels around each mask, and check that there is enough to go on."""
    at = polar(share)
    q = at.distance / at.radius
    band = windows.own & (q > _BAND[0]) & (q < _BAND[1])
    beyond = at.distance - at.radius
    gap = np.maximum(np.float32(2), np.float32(0.08) * at.mean_radius)
    end = gap + np.maximum(np.float32(4), np.float32(0.3) * at.mean_radius)
    ring = windows.free & (beyond > gap[:, None, None]) & (beyond < end[:, None, None])
    outside = at.mean(windows.flat, ring, 0.3)
    inside = at.mean(windows.flat, band, 0.1)
    contrast = np.sort(inside - outside, axis=1)[:, SECTORS // 2]
    good = (band.sum((1, 2)) >= _FEW) & (ring.sum((1, 2)) >= SECTORS) & (contrast > windows.least)
    levels = _RimLevels(polar=at, q=q, inside=inside, outside=outside, ring=ring, contrast=contrast)
    return levels, good


def _contour(windows: Windows, levels: _RimLevels, rim_level: float, gradient: Image) -> Image:
    """Compute the share of each cell that is inside the contour."""
    at, q, contrast = levels.polar, levels.q, levels.contrast[:, None]
    step = levels.inside - levels.outside
    step = np.minimum(np.maximum(step, _STEP[0] * contrast), _STEP[1] * contrast)
    excess = windows.flat - spread(levels.outside + rim_level * step, at.turn)
    core = windows.own & (q < _CORE)
    near = (q < _REACH) & (at.distance < _PROTRUSION * at.typical)
    inner = core | (windows.own & (excess > 0) & near)
    # What is thinner than this is a tendril along a neighbour or a cloud, not the particle.
    thin = np.maximum(1, np.rint(_TENDRIL * at.mean_radius)).astype(np.int64)
    body = main_parts(without_tendrils_each(inner, thin))
    # Distance from the contour, to first order: cells at the contour are inside in part.
    least = np.maximum(0.1 * levels.contrast / at.mean_radius, 1e-9).astype(np.float32)
    share = excess
    share /= np.maximum(gradient, least[:, None, None])
    share += np.float32(0.5)
    share.clip(0, 1, out=share)
    share *= grow(body) & windows.own
    return np.maximum(share, body & core, out=share)


def _measure(
    windows: Windows, levels: _RimLevels, share: Image, gradient: Image, which: NDArray[np.intp]
) -> list[RefinedMask]:
    """Measure the rims of some masks."""
    at, q, contrast = levels.polar, levels.q[which], levels.contrast[which]
    flat, share, gradient = windows.flat[which], _solid(share[which]), gradient[which]
    rim = (share > 0) & (share < 1) & (q > _CORE)
    slope = _mean_over(gradient, rim)
    # The levels as a map of sectors belong to all windows, the rest to those picked.
    beside: Image = flat - np.asarray(levels.outside, np.float32).take(at.sector[which])
    noise = np.sqrt(_mean_over(beside * beside, levels.ring[which]))
    steep = levels.inside[which] - levels.outside[which] > 0.4 * contrast[:, None]
    texture = _texture(flat, windows.own[which] & (q < _BAND[1]), q) / contrast
    compact = _compactness(share, share.sum((1, 2)))
    return [
        RefinedMask(
            share=share[i],
            contrast=float(contrast[i]),
            sharpness=float(slope[i] * at.mean_radius[n] / contrast[i]),
            noise=float(noise[i]),
            closed=float(steep[i].mean()),
            texture=float(texture[i]),
            compact=float(compact[i]),
        )
        for i, n in enumerate(which)
    ]


def _mean_over(values: Image, where: Mask) -> Array:
    """Average each window over some of its cells, 0 if none, (n,)."""
    return (values * where).sum((1, 2)) / np.maximum(where.sum((1, 2)), 1)


def _texture(flat: Image, core: Mask, q: Image) -> Array:
    """Measure the rms of the inside without its radial trend, OD, (n,)."""
    square = q * q
    values = (flat - _mean_over(flat, core).astype(np.float32)[:, None, None]) * core
    square = (square - _mean_over(square, core).astype(np.float32)[:, None, None]) * core
    trend = (values * square).sum((1, 2)) / np.maximum((square * square).sum((1, 2)), 1e-9)
    rest = values - trend.astype(np.float32)[:, None, None] * square
    return np.sqrt(_mean_over(rest * rest, core))


def _compactness(share: Image, area: NDArray[np.float32]) -> Array:
    perimeter = _gradient(share).sum((1, 2))
    return 4 * np.pi * area / np.maximum(perimeter, 1e-6) ** 2


def _gradient(values: Image) -> Image:
    """Measure the gradient by central differences; 0 at the rim of each window."""
    out = np.zeros_like(values)
    dy = values[:, 2:, 1:-1] - values[:, :-2, 1:-1]
    dx = values[:, 1:-1, 2:] - values[:, 1:-1, :-2]
    dy *= dy
    dx *= dx
    dy += dx
    dy *= np.float32(0.25)
    np.sqrt(dy, out=out[:, 1:-1, 1:-1])
    return out


def _solid(share: Image) -> Image:
    """Fill holes, also where they reach the cells at the contour."""
    inside = share > 0.5
    solid = without_holes(inside)
    if solid is inside:
        return share
    hole = grow(solid & ~inside) & solid
    return np.where(hole, np.float32(1), share)


# Windows of regions, taken out of the frame.


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Surroundings of n particles, each on the grid of a level.

    Attributes
    ----------
    flat : (n, h, w) float32, OD above the coarse background.
    own : (n, h, w) bool, cells that may belong to the particle.
    free : (n, h, w) bool, valid cells that belong to nobody (nor touch anybody else).
    valid : (n, h, w) bool.
    least : contrast below which it is not worth while to go on, OD.
    """

    flat: Image
    own: Mask
    free: Mask
    valid: Mask
    least: float = 0.0

    def pick(self, which: NDArray[np.intp]) -> Windows:
        """Return some of the windows."""
        arrays = {name: getattr(self, name)[which] for name in ("flat", "own", "free", "valid")}
        return replace(self, **arrays)


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateWindow:
    """Window of (h, w) cells of level `k` from (top, left), around region `n`."""

    n: int
    k: int
    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateScene:
    """One frame while its particles are refined.

    Attributes
    ----------
    levels : the frame at all resolutions.
    background : what is subtracted.
    regions : (h, w) int32 coarse regions.
    flat : (h, w) float32, OD above the background on the grid of the regions.
    unit : px per cell of `regions`. noise : of the background, OD.
    least : contrast below which nothing can be a particle, OD.
    """

    levels: list[Level]
    background: CoarseBackground
    regions: Labels
    flat: Image
    unit: int
    noise: float
    least: float

    def window(self, n: int, box: tuple[slice, ...], k: int) -> CandidateWindow:
        """Place a window around region `n` with the bounds `box` on level `k`."""
        step = self.levels[k].step
        span = max(s.stop - s.start for s in box) * self.unit / step
        margin = round(0.2 * span) + 5
        top, left = (s.start * self.unit // step - margin for s in box)
        height, width = (
            -(-s.stop * self.unit // step) + margin - start
            for s, start in zip(box, (top, left), strict=True)
        )
        return CandidateWindow(n=n, k=k, top=top, left=left, height=height, width=width)

    def cut_out(
        self, places: Sequence[CandidateWindow]
    ) -> tuple[Windows, Mask, list[tuple[int, int]]]:
        """Take out the surroundings of regions, the regions there, and the corner cells.

        All windows are as large as the largest of `places`, which are in the middle of them.
        """
        height = -(-max(p.height for p in places) // _EVEN) * _EVEN
        width = -(-max(p.width for p in places) // _EVEN) * _EVEN
        shape = (len(places), height, width)
        value, base = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        valid, owner = np.zeros(shape, bool), np.zeros(shape, np.int32)
        corners = []
        for i, p in enumerate(places):
            top, left = p.top - (height - p.height) // 2, p.left - (width - p.width) // 2
            level = self.levels[p.k]
            rows = slice(max(top, 0), min(top + height, level.value.shape[0]))
            columns = slice(max(left, 0), min(left + width, level.value.shape[1]))
            to = np.s_[
                i, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
            ]
            value[to] = level.value[rows, columns]
            valid[to] = level.weight[rows, columns] > USABLE
            x = _centres(self.regions.shape[1], self.unit, level.step)[columns]
            y = _centres(self.regions.shape[0], self.unit, level.step)[rows]
            owner[to] = self.regions[y[0] : y[-1] + 1].take(x, axis=1)[y - y[0]]
            base[to] = self.background.at(rows, columns, level.step)
            corners.append((top, left))
        rough = [i for i, p in enumerate(places) if p.k == 0]
        if rough:
            value[rough] = _smooth(value[rough], valid[rough])
        value -= base
        value *= valid
        mine = owner == np.array([p.n for p in places], np.int32)[:, None, None]
        taken = owner > 0
        windows = Windows(
            flat=value,
            own=valid & (mine | ~taken),
            free=valid & ~grow(taken, 2),
            valid=valid,
            least=self.least,
        )
        return windows, mine, corners


@lru_cache(maxsize=64)
def _centres(size: int, unit: int, step: int) -> NDArray[np.intp]:
    """Return the cell of `unit` px at the centre of each cell of `step` px."""
    count = size * unit // step
    return ((2 * np.arange(count) + 1) * step // (2 * unit)).clip(0, size - 1)


def _smooth(value: Image, valid: Mask) -> Image:
    if valid.all():
        return gaussian(value, _SIGMA, 3)
    weight = gaussian(valid.astype(np.float32), _SIGMA, 3)
    out = gaussian(value * valid, _SIGMA, 3)
    out /= np.maximum(weight, np.float32(1e-3))
    return out
