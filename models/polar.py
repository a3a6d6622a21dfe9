"""Quantities as functions of direction around a particle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32]
Sectors = NDArray[np.float64]
SECTORS = 32
_FINE = 8  # directions per sector that cells are told apart by


def _circulant(taps: tuple[float, ...]) -> NDArray[np.float64]:
    """Weighted mean over neighbouring sectors on both sides, as a matrix."""
    apart = np.abs(np.subtract.outer(np.arange(SECTORS), np.arange(SECTORS)))
    weights = np.array([*taps, 0.0])
    return weights[np.minimum(np.minimum(apart, SECTORS - apart), len(taps))]


def _interpolation() -> NDArray[np.float64]:
    """Linear interpolation from sectors, whose centres are at 0, 1, ..., to fine directions."""
    place = (np.arange(SECTORS * _FINE) + 0.5) / _FINE
    apart = np.abs(np.subtract.outer(place, np.arange(SECTORS)))
    return np.maximum(0, 1 - np.minimum(apart, SECTORS - apart))


_WIDE = _circulant((0.3, 0.2, 0.1, 0.05))
_NARROW = _circulant((0.5, 0.25))
_BETWEEN = _interpolation()
_QUARTER = np.add.outer(np.arange(SECTORS), np.arange(-4, 5)) % SECTORS


@dataclass(frozen=True, slots=True, kw_only=True)
class Polar:
    """Direction and distance of each cell of a window from the centre of a particle.

    Attributes
    ----------
    turn : (h, w) direction, in fine steps.
    sector : (h, w) nearest sector.
    distance : (h, w) from the centre, cells.
    radius : (h, w) distance of the outline in that direction, cells.
    typical : (h, w) median of that distance over a quarter of all directions, cells.
    mean_radius : radius of the disc of equal area, cells.
    """

    turn: NDArray[np.intp]
    sector: NDArray[np.intp]
    distance: Map
    radius: Map
    typical: Map
    mean_radius: float

    def spread(self, sectors: Sectors) -> Map:
        """Value per sector to value per cell, linear in between, (h, w)."""
        return (_BETWEEN @ sectors).astype(np.float32)[self.turn]

    def mean(self, values: Map, where: NDArray[np.bool_], prior: float) -> Sectors:
        """Mean over the cells `where`, a smooth function of direction.

        Parameters
        ----------
        values : (h, w).
        where : (h, w) bool, cells that count.
        prior : weight of the overall mean, in units of the mean number of cells per sector.
        """
        sector = self.sector[where]
        count = np.bincount(sector, minlength=SECTORS)
        total = np.bincount(sector, values[where], minlength=SECTORS)
        overall, weight = total.sum() / len(sector), prior * len(sector) / SECTORS
        return (_WIDE @ total + weight * overall) / (_WIDE @ count + weight)


def polar(share: Map) -> Polar | None:
    """Polar coordinates about the centre of a mask.

    Parameters
    ----------
    share : (h, w) share of each cell that is inside.

    Returns
    -------
    None if the mask is next to nothing.
    """
    area = float(share.sum())
    if area < 4:
        return None
    height, width = share.shape
    y, x = np.arange(height, dtype=np.float32), np.arange(width, dtype=np.float32)
    dy = (y - np.float32(share.sum(1) @ y / area))[:, None]
    dx = (x - np.float32(share.sum(0) @ x / area))[None, :]
    steps = SECTORS * _FINE
    angle = np.arctan2(dy, dx) * np.float32(steps / (2 * np.pi))
    turn = (angle + steps).astype(np.intp) % steps
    sector = (turn + _FINE // 2) // _FINE % SECTORS
    areas = np.bincount(sector.ravel(), share.ravel(), minlength=SECTORS)
    mean_radius = float(np.sqrt(area / np.pi))
    # A sector of area A and angle a reaches to sqrt(2 A / a).
    reach = np.maximum(np.sqrt(_NARROW @ areas * SECTORS / np.pi), 0.3 * mean_radius)
    typical = np.sort(reach[_QUARTER], axis=1)[:, 4]
    return Polar(
        turn=turn,
        sector=sector,
        distance=np.sqrt(dy * dy + dx * dx),
        radius=(_BETWEEN @ reach).astype(np.float32)[turn],
        typical=(_BETWEEN @ typical).astype(np.float32)[turn],
        mean_radius=mean_radius,
    )
