"""Edge energy and white line of many spectra at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ...models.arrays import Array
from .curve import GRID_EV, Curve

_WHITE_EV = 2.0
_INFLECTION_EV = 15.0
_WHITE_REACH_EV = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Edges:
    """Of p spectra, each (p,), NaN where it cannot be told.

    Attributes
    ----------
    step : edge step, in units of the spectra.
    energy : where the edge has risen by half of its step, eV.
    inflection : where it rises most, eV.
    white_line : energy of the maximum above the edge, eV; white_height : of it, in edge steps.
    sharpness : slope at `energy`, edge steps per eV.
    index : place on the grid of the curve just below `energy`, -1 if there is none.
    """

    step: Array
    energy: Array
    inflection: Array
    white_line: Array
    white_height: Array
    sharpness: Array
    index: NDArray[np.intp]


def find_edges(curve: Curve, spectra: NDArray[np.floating], min_step: float) -> Edges:
    """Read edge and white line off spectra.

    Parameters
    ----------
    curve : operators for the energies of the spectra.
    spectra : (n, p), optical density.
    min_step : smallest edge step of which anything is told, OD.
    """
    kind = spectra.dtype
    step = np.asarray(curve.step.astype(kind, copy=False) @ spectra, np.float64)
    told = step >= min_step
    scale = np.where(told, step, np.nan)
    with np.errstate(invalid="ignore"):
        shape = (curve.smooth.astype(kind, copy=False) @ spectra) / scale.astype(kind, copy=False)
    energy, index, sharpness = _half(curve, shape)
    white_line, height = _white(curve, shape, energy)
    return Edges(
        step=step,
        energy=energy,
        inflection=np.where(told, _inflection(curve, spectra), np.nan),
        white_line=white_line,
        white_height=height,
        sharpness=sharpness,
        index=index,
    )


def _half(curve: Curve, shape: NDArray[np.floating]) -> tuple[Array, NDArray[np.intp], Array]:
    """The rise through one half that is nearest to where the edge is expected."""
    columns = np.arange(shape.shape[1])
    nearest = np.argsort(np.abs(curve.grid[:-1] - curve.edge), kind="stable")
    rises = ((shape[:-1] < 0.5) & (shape[1:] >= 0.5))[nearest]
    first = np.argmax(rises, axis=0)
    index, found = nearest[first], rises[first, columns]
    below = shape[index, columns].astype(np.float64)
    rise = shape[index + 1, columns] - below
    with np.errstate(invalid="ignore", divide="ignore"):
        energy = curve.grid[index] + GRID_EV * (0.5 - below) / rise
    nan = np.nan
    return (
        np.where(found, energy, nan),
        np.where(found, index, -1),
        np.where(found, rise / GRID_EV, nan),
    )


def _inflection(curve: Curve, spectra: NDArray[np.floating]) -> Array:
    near = np.abs(curve.grid - curve.edge) <= _INFLECTION_EV
    slope = curve.slope[near].astype(spectra.dtype, copy=False) @ spectra
    vertex, _ = _vertex(curve.grid[near], slope, np.argmax(slope, axis=0), reach=2)
    return vertex


def _white(curve: Curve, shape: NDArray[np.floating], energy: Array) -> tuple[Array, Array]:
    near = (curve.grid >= curve.edge - 5.0) & (curve.grid <= curve.edge + _WHITE_REACH_EV)
    grid, part = curve.grid[near], shape[near]
    above = grid[:, None] >= energy[None]
    peak = np.argmax(np.where(above & np.isfinite(part), part, -np.inf), axis=0)
    vertex, height = _vertex(grid, part, peak, reach=round(_WHITE_EV / GRID_EV))
    missing = ~np.isfinite(energy)
    vertex[missing], height[missing] = np.nan, np.nan
    return vertex, height


def _vertex(
    grid: Array, values: NDArray[np.floating], peak: NDArray[np.intp], reach: int
) -> tuple[Array, Array]:
    """Vertex of the parabola through the values (g, p) within `reach` places of a maximum (p,).

    NaN if it is no maximum inside these.
    """
    if len(grid) <= 2 * reach:
        return np.full(len(peak), np.nan), np.full(len(peak), np.nan)
    middle = np.clip(peak, reach, len(grid) - 1 - reach)
    offset = np.arange(-reach, reach + 1)
    window = values[middle[None] + offset[:, None], np.arange(len(peak))[None]]
    c0, c1, c2 = _parabola(reach).astype(values.dtype) @ window
    with np.errstate(invalid="ignore", divide="ignore"):
        place, height = -c1 / (2 * c2), c0 - c1**2 / (4 * c2)
        inside = (c2 < 0) & (np.abs(place) <= reach * GRID_EV)
    return (
        np.where(inside, grid[middle] + place, np.nan),
        np.where(inside, height, np.nan),
    )


@lru_cache
def _parabola(reach: int) -> Array:
    """(3, 2 * reach + 1) operator to the parabola through as many values on the grid."""
    x = np.arange(-reach, reach + 1) * GRID_EV
    design = np.stack([np.ones_like(x), x, x**2], axis=1)
    return np.asarray(np.linalg.pinv(design), np.float64)
