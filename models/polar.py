"""Quantities as functions of direction around particles; a stack of particles at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .arrays import Image

Sectors = NDArray[np.float64]
SECTORS = 32  # a few pixels of the rim of a small particle each; by eye
_FINE = 8  # directions per sector that cells are told apart by; a power of two
_STEPS = SECTORS * _FINE  # a power of two


def _circulant(taps: tuple[float, ...]) -> NDArray[np.float64]:
    """Make a weighted mean over neighbouring sectors on both sides, a symmetric matrix."""
    apart = np.abs(np.subtract.outer(np.arange(SECTORS), np.arange(SECTORS)))
    weights = np.array([*taps, 0.0])
    return weights[np.minimum(np.minimum(apart, SECTORS - apart), len(taps))]


def _interpolation() -> Image:
    """Interpolate linearly from sectors, whose centres are at 0, 1, ..., to fine directions."""
    place = (np.arange(_STEPS) + 0.5) / _FINE
    apart = np.abs(np.subtract.outer(place, np.arange(SECTORS)))
    weights = np.maximum(0, 1 - np.minimum(apart, SECTORS - apart)).T
    return np.ascontiguousarray(weights, np.float32)


# weights of a sector and its neighbours, falling linearly; by eye
_WIDE = _circulant((0.3, 0.2, 0.1, 0.05))
_NARROW = _circulant((0.5, 0.25))
_BETWEEN = _interpolation()
_QUARTER = np.add.outer(np.arange(SECTORS), np.arange(-4, 5)) % SECTORS


@dataclass(frozen=True, slots=True, kw_only=True)
class Polar:
    """Direction and distance of each cell of n windows from the centre of a particle in each.

    Attributes
    ----------
    turn : (n, h, w) direction in fine steps, counted on from window to window.
    sector : (n, h, w) nearest sector, counted on from window to window.
    distance : (n, h, w) from the centre, cells.
    radius : (n, h, w) distance of the outline in that direction, cells.
    typical : (n, h, w) median of that distance over a quarter of all directions, cells.
    mean_radius : (n,) radius of the disc of equal area, cells.
    """

    turn: NDArray[np.int32]
    sector: NDArray[np.int32]
    distance: Image
    radius: Image
    typical: Image
    mean_radius: Image

    def mean(self, values: Image, where: NDArray[np.bool_], prior: float) -> Sectors:
        """Average over the cells `where`, a smooth function of direction, (n, SECTORS).

        Parameters
        ----------
        values : (n, h, w).
        where : (n, h, w) bool, cells that count.
        prior : weight of the overall mean, in units of the mean number of cells per sector.
        """
        shape = (len(self.mean_radius), SECTORS)
        cells = np.flatnonzero(where)
        sector = self.sector.take(cells)
        size = shape[0] * SECTORS
        count = np.bincount(sector, minlength=size).reshape(shape)
        total = np.bincount(sector, values.take(cells), minlength=size).reshape(shape)
        number = np.maximum(count.sum(1, keepdims=True), 1)
        overall, weight = total.sum(1, keepdims=True) / number, prior * number / SECTORS
        return (total @ _WIDE + weight * overall) / (count @ _WIDE + weight)


def polar(share: Image) -> Polar:
    """Compute polar coordinates about the centres of masks.

    Parameters
    ----------
    share : (n, h, w) share of each cell that is inside; some must be, in each window.
    """
    count, height, width = share.shape
    y, x = np.arange(height, dtype=np.float32), np.arange(width, dtype=np.float32)
    in_y, in_x = share.sum(2), share.sum(1)
    area = in_y.sum(1)
    dy = (y - (in_y @ y / area)[:, None])[:, :, None]
    dx = (x - (in_x @ x / area)[:, None])[:, None, :]
    angle = np.arctan2(dy, dx)
    angle *= np.float32(_STEPS / (2 * np.pi))
    angle += np.float32(_STEPS)
    turn = angle.astype(np.int32)
    turn &= _STEPS - 1
    sector = turn + _FINE // 2
    sector >>= _FINE.bit_length() - 1
    sector &= SECTORS - 1
    window = np.arange(count, dtype=np.int32)[:, None, None]
    sector += SECTORS * window
    turn += _STEPS * window
    cells = np.flatnonzero(share > 0)
    areas = np.bincount(sector.take(cells), share.take(cells), minlength=count * SECTORS)
    mean_radius = np.sqrt(area / np.float32(np.pi))
    # A sector of area A and angle a reaches to sqrt(2 A / a).
    reach = np.sqrt(areas.reshape(count, SECTORS) @ _NARROW * (SECTORS / np.pi))
    reach = np.maximum(reach, 0.3 * mean_radius[:, None])
    typical = np.sort(reach[:, _QUARTER], axis=2)[:, :, 4]
    distance = dy * dy + dx * dx
    return Polar(
        turn=turn,
        sector=sector,
        distance=np.sqrt(distance, out=distance),
        radius=spread(reach, turn),
        typical=spread(typical, turn),
        mean_radius=mean_radius,
    )


def spread(sectors: Sectors, turn: NDArray[np.int32]) -> Image:
    """Spread values per sector (n, SECTORS) to cells (n, h, w), linear in between."""
    return (sectors.astype(np.float32) @ _BETWEEN).take(turn)
