"""Confirm that there is a particle within a contour, by its rim on the raw optical density.

A generator that was trained against a discriminator draws what particles look like, also where
there is none. What it and the Dual U-net draw is therefore only a question, and the answer is in
the frame: the density must fall from inside to outside across the contour, in most directions, by
more than the noise explains, and steeply. A cloud falls too, but slowly.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from ..arrays import Array, Mask
from ..detector import soft_step
from ..polar import SECTORS, Polar, polar
from .contours import Contours

# By eye, unless a derivation stands here.
_PER = 2  # directions of `Polar` that are one sector here
_SECTORS = SECTORS // _PER
_DEPTH = 8  # bins on either side of the contour
_BIN = 1 / 16  # width of a bin, mean radii
_BLUR = 1.0  # px on either side of the contour that the optics blur, at least
_WIDTH = 5  # bins that are compared on either side
_NARROW = 3  # bins that are compared close to the contour on either side
_APART = 1  # bins between these
_OFFSET = 3  # bins by which a contour may be off
_FEWEST = 2.0  # independent pixels of a sector, inside and outside
_CLEAR = 1.0  # standard errors above which a sector has a rim
_INDEPENDENT = 0.45  # interpolation averages neighbours: of two thirds along each axis, squared
# Share of the fall at the contour, for even odds: diameters, px, and what optics leave of rims.
_SHARP = ((15.0, 24.0, 40.0, 70.0), (0.40, 0.42, 0.45, 0.52))
_DOUBT = 0.5  # standard errors that are in favour of a rim
_NOISY = (10.0, 18.0)  # rim contrast in standard errors: hidden by noise, and standing out
_HESITANT = (0.82, 0.9)  # probability for even odds at these
_CLOSED = 0.6  # share of directions with a rim for even odds
_KNOWN = 0.3  # and of those that can be judged
_SURE = 0.5  # score above which a particle is beyond doubt


@dataclass(frozen=True, slots=True, kw_only=True)
class Rims:
    """Rims of N contours on the optical density.

    Attributes
    ----------
    contrast : (N,) mean density just inside less that just outside, OD.
    t : (N,) `contrast` over its standard error.
    closed : (N,) share of the directions that can be judged in which density falls clearly.
    known : (N,) share of the directions that can be judged: not hidden by others or the frame.
    sharpness : (N,) share of the fall that happens at the contour, where a cloud has little; and
        somewhat more, so that noise does not tell against a particle.
    outside : (N,) mean density just outside, OD.
    """

    contrast: Array
    t: Array
    closed: Array
    known: Array
    sharpness: Array
    outside: Array

    def pick(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> Rims:
        """Return some of them."""
        return Rims(**{f.name: getattr(self, f.name)[which] for f in fields(self)})


@dataclass(frozen=True, slots=True)
class _Table:
    """Cells by sector and by distance from the contour, (N, sectors, bins)."""

    count: Array
    total: Array
    square: Array

    def band(self, where: NDArray[np.bool_]) -> tuple[Array, Array, Array]:
        """Add up count, sum and squares over the bins ``where`` (N, bins), each (N, sectors)."""
        weight = where[:, None, :]
        return tuple((part * weight).sum(2) for part in (self.count, self.total, self.square))


def rims(contours: Contours, hidden: Mask) -> Rims:
    """Measure the rims.

    Parameters
    ----------
    contours : with a mask each. hidden : (N, S, S) bool, cells that belong to other particles.
    """
    table = _tabulate(contours, hidden)
    edges = np.arange(-_DEPTH, _DEPTH) + 0.5
    radius = contours.diameter[:, None] / 2
    gap = np.maximum(1.0, _BLUR / (radius * _BIN)).clip(max=_DEPTH - _WIDTH)
    inner = table.band((edges < -gap) & (edges > -gap - _WIDTH))
    outer = table.band((edges > gap) & (edges < gap + _WIDTH))
    # pixels, not cells, are independent
    per_cell = _INDEPENDENT * np.minimum(1.0, contours.cell**2)[:, None]
    n_in, n_out = inner[0] * per_cell, outer[0] * per_cell
    known = (n_in >= _FEWEST) & (n_out >= _FEWEST)
    weight = known.sum(1).clip(min=1)
    low = outer[1] / np.maximum(outer[0], 1)
    fall = inner[1] / np.maximum(inner[0], 1) - low
    variance = _variance(outer, low, known)
    error = variance[:, None] * (1 / np.maximum(n_in, 1) + 1 / np.maximum(n_out, 1))
    contrast = (fall * known).sum(1) / weight
    standard = np.sqrt((error * known).sum(1)) / weight
    clear = known & (fall > _CLEAR * np.sqrt(error))
    return Rims(
        contrast=contrast,
        t=contrast / np.maximum(standard, 1e-9),
        closed=clear.sum(1) / weight,
        known=known.mean(1),
        sharpness=_steepness(table, known, variance, per_cell),
        outside=(low * known).sum(1) / weight,
    )


def _tabulate(contours: Contours, hidden: Mask) -> _Table:
    at: Polar = polar(contours.share + np.float32(1e-9))
    bins = (at.distance - at.radius) / (at.mean_radius * np.float32(_BIN))[:, None, None]
    near = (np.abs(bins) < _DEPTH) & contours.usable & ~hidden
    cells = np.flatnonzero(near)
    depth = np.floor(bins.take(cells)).astype(np.int64) + _DEPTH
    key = (at.sector.take(cells) // _PER) * (2 * _DEPTH) + depth
    value = contours.value.take(cells).astype(np.float64)
    shape = (len(contours), _SECTORS, 2 * _DEPTH)
    size = int(np.prod(shape))
    count, total, square = (
        np.bincount(key, weights, size).reshape(shape).astype(np.float64)
        for weights in (np.ones(len(key)), value, value * value)
    )
    return _Table(count, total, square)


def _variance(outer: tuple[Array, ...], low: Array, known: NDArray[np.bool_]) -> Array:
    """Estimate the variance of a cell about the mean of its sector, outside, (N,)."""
    count, _, square = outer
    spread = ((square - count * low**2) * known).sum(1)
    return spread.clip(min=0) / ((count - 1) * known).sum(1).clip(min=1) + 1e-12


def _steepness(table: _Table, known: NDArray[np.bool_], variance: Array, per_cell: Array) -> Array:
    """Measure the share of the fall that happens at the contour, and some of its error, (N,).

    Of a Gaussian cloud it is 0.31 at most, wherever it is cut and however large it is.
    """
    count, total = ((part * known[:, :, None]).sum(1) for part in (table.count, table.total))
    sums = [np.cumsum(np.pad(part, ((0, 0), (1, 0))), 1) for part in (count, total)]
    number, value = (part[:, _NARROW:] - part[:, :-_NARROW] for part in sums)
    mean = value / np.maximum(number, 1)
    # entry k is over the bins k to k + 2, the contour is before bin _DEPTH
    start = np.arange(_DEPTH - _NARROW - _OFFSET, _DEPTH - _NARROW + _OFFSET + 1)
    high, low = start, start + _NARROW + _APART
    falls = mean[:, high] - mean[:, low]
    falls[(number[:, high] < 1) | (number[:, low] < 1)] = 0.0
    steepest = falls.argmax(1)
    rows = np.arange(len(mean))
    whole = np.maximum(mean[:, 0] - mean[:, -1], 1e-9)
    few = np.minimum(number[rows, high[steepest]], number[rows, low[steepest]])
    error = np.sqrt(2 * variance / np.maximum(few * per_cell[:, 0], 1)) / whole
    return (falls[rows, steepest] / whole + _DOUBT * error).clip(max=2.0)


def confidence(contours: Contours, found: Rims, least_t: float) -> Array:
    """Rate how sure it is that there is a particle, (N,) 0..1.

    The probability of the networks, times what the frame says to it. Networks that hesitate are
    believed where noise explains it; where the rim of a particle would stand out, they must not.

    Parameters
    ----------
    found : rims of the contours.
    least_t : rim contrast for even odds, in its standard errors.
    """
    probability = np.sqrt(contours.presence * contours.prior)
    clear = ((found.t - _NOISY[0]) / (_NOISY[1] - _NOISY[0])).clip(0.0, 1.0)
    doubtful = _HESITANT[0] + (_HESITANT[1] - _HESITANT[0]) * clear
    return (
        probability
        * soft_step(probability, doubtful, 0.012)
        * soft_step(found.t, least_t, 0.12 * least_t)
        * soft_step(found.closed, _CLOSED, 0.06)
        * soft_step(found.known, _KNOWN, 0.04)
        * soft_step(found.sharpness, np.interp(contours.diameter, *_SHARP), 0.01)
    )


def beside_densest(score: Array, contrast: Array, owner: NDArray[np.int64], least: float) -> Array:
    """Lower the score of what is faint beside the densest sure contour of its frame, (N,).

    Parameters
    ----------
    score, contrast : (N,). owner : (N,) frame of each.
    least : contrast in units of that of the densest, for even odds.
    """
    densest = np.zeros(owner.max(initial=0) + 1)
    sure = score > _SURE
    np.maximum.at(densest, owner[sure], contrast[sure])
    limit = least * densest[owner]
    return score * soft_step(contrast, limit, 0.15 * limit)
