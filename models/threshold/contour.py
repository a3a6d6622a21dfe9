"""The masks of particles, each at half of its own contrast.

The contour lies where the density is half-way between the particle just inside its rim and its
surroundings just outside, each as a function of direction. It therefore stays where it is when
the contrast of the particle changes with energy, and when one side of it changes more than
another. Windows of several particles are refined at a time: they are so small that the time goes
into calls, not cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..arrays import Image, Mask
from ..masks import grow, main_parts, without_holes, without_tendrils_each
from ..polar import SECTORS, Polar, polar

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
        """Some of the windows."""
        return Windows(
            flat=self.flat[which],
            own=self.own[which],
            free=self.free[which],
            valid=self.valid[which],
            least=self.least,
        )


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

    share: Image
    contrast: float
    sharpness: float
    noise: float
    closed: float
    compact: float
    texture: float


def refine(windows: Windows, start: Mask, rim_level: float, rounds: int) -> list[Outline | None]:
    """Find the contours at half contrast.

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
    found: list[Outline | None] = [None] * len(start)
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
        around, good = _look_around(windows, share)
        share = _contour(windows, around, rim_level, gradient)
        before, area = area, share.sum((1, 2))
        good &= _compactness(share, area) >= _RAGGED
        settled = np.abs(area - before) < _SETTLED * area if n else np.zeros(len(area), bool)
        done = np.flatnonzero(good & (settled | (n == rounds - 1)))
        if len(done):
            outlines = _measure(windows, around, share, gradient, done)
            for i, outline in zip(active[done], outlines, strict=True):
                found[i] = outline
        going = good & ~settled & (area >= _FEW)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Around:
    """Levels inside and outside of outlines, as functions of direction."""

    polar: Polar
    q: Image
    inside: NDArray[np.float64]
    outside: NDArray[np.float64]
    ring: Mask
    contrast: NDArray[np.float64]


def _look_around(windows: Windows, share: Image) -> tuple[_Around, Mask]:
    """Levels around each outline, and whether there is enough to go on."""
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
    good = (_count(band) >= _FEW) & (_count(ring) >= SECTORS) & (contrast > windows.least)
    around = _Around(polar=at, q=q, inside=inside, outside=outside, ring=ring, contrast=contrast)
    return around, good


def _count(masks: Mask) -> NDArray[np.intp]:
    return masks.reshape(len(masks), -1).sum(1)


def _contour(windows: Windows, around: _Around, rim_level: float, gradient: Image) -> Image:
    """Share of each cell that is inside the contour."""
    at, q, contrast = around.polar, around.q, around.contrast[:, None]
    step = around.inside - around.outside
    step = np.minimum(np.maximum(step, _STEP[0] * contrast), _STEP[1] * contrast)
    excess = windows.flat - at.spread(around.outside + rim_level * step)
    core = windows.own & (q < _CORE)
    near = (q < _REACH) & (at.distance < _PROTRUSION * at.typical)
    inner = core | (windows.own & (excess > 0) & near)
    # What is thinner than this is a tendril along a neighbour or a cloud, not the particle.
    thin = np.maximum(1, np.rint(_TENDRIL * at.mean_radius)).astype(np.int64)
    body = main_parts(without_tendrils_each(inner, thin))
    # Distance from the contour, to first order: cells at the contour are inside in part.
    least = np.maximum(0.1 * around.contrast / at.mean_radius, 1e-9).astype(np.float32)
    share = excess
    share /= np.maximum(gradient, least[:, None, None])
    share += np.float32(0.5)
    share.clip(0, 1, out=share)
    share *= grow(body) & windows.own
    return np.maximum(share, body & core, out=share)


def _measure(
    windows: Windows, around: _Around, share: Image, gradient: Image, which: NDArray[np.intp]
) -> list[Outline]:
    """What the rims of some outlines are like."""
    at, q, contrast = around.polar, around.q[which], around.contrast[which]
    flat, share, gradient = windows.flat[which], _solid(share[which]), gradient[which]
    rim = (share > 0) & (share < 1) & (q > _CORE)
    slope = _mean_over(gradient, rim)
    # The levels as a map of sectors belong to all windows, the rest to those picked.
    beside: Image = flat - np.asarray(around.outside, np.float32).take(at.sector[which])
    noise = np.sqrt(_mean_over(beside * beside, around.ring[which]))
    steep = around.inside[which] - around.outside[which] > 0.4 * contrast[:, None]
    texture = _texture(flat, windows.own[which] & (q < _BAND[1]), q) / contrast
    compact = _compactness(share, share.sum((1, 2)))
    return [
        Outline(
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


def _mean_over(values: Image, where: Mask) -> NDArray[np.float64]:
    """Mean of each window over some of its cells, 0 if none, (n,)."""
    return (values * where).sum((1, 2)) / np.maximum(_count(where), 1)


def _texture(flat: Image, core: Mask, q: Image) -> NDArray[np.float64]:
    """Rms of what is left of the inside when its radial trend is taken out, OD, (n,)."""
    square = q * q
    values = (flat - _mean_over(flat, core).astype(np.float32)[:, None, None]) * core
    square = (square - _mean_over(square, core).astype(np.float32)[:, None, None]) * core
    trend = (values * square).sum((1, 2)) / np.maximum((square * square).sum((1, 2)), 1e-9)
    rest = values - trend.astype(np.float32)[:, None, None] * square
    return np.sqrt(_mean_over(rest * rest, core))


def _compactness(share: Image, area: NDArray[np.float32]) -> NDArray[np.float64]:
    perimeter = _gradient(share).sum((1, 2))
    return 4 * np.pi * area / np.maximum(perimeter, 1e-6) ** 2


def _gradient(values: Image) -> Image:
    """Length of the gradient by central differences; 0 at the rim of each window."""
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
