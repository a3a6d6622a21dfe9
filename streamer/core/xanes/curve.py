"""Linear operators from a spectrum to its pre-edge line, edge step and smooth curve.

Everything that is derived of an edge is a ratio of such linear functions, so that one set of small
matrices serves the mean spectrum of a particle and all of its pixels at once. The normalisation is
the usual one (pre-edge line, post-edge line, their distance at the edge); the curve between the
measured energies is a local quadratic (Cleveland & Devlin 1988, *Locally weighted regression*)
with an Epanechnikov kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ....models.arrays import Array
from .settings import XanesSettings

# By eye, for K edges of 3d metals.
GRID_EV = 0.5
_BELOW_EV = 20.0  # the grid reaches from here
_ABOVE_EV = 40.0  # to there
_NEIGHBOURS = 4  # a quadratic has 3 coefficients: one energy more than it needs
_LINE_POINTS = 4  # with fewer or closer energies a line is a constant
_LINE_SPAN_EV = 30.0
_SAME_EV = 0.02
_NARROW = 0.6  # of the distance from the edge, where no energies lie further away
_STEEP_EV = 4.0
_WHITE_EV = 2.0
_INFLECTION_EV = 15.0
_WHITE_REACH_EV = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectrumOperators:
    """Linear operators on spectra (n, ...) that were measured at n energies.

    Attributes
    ----------
    edge : about where the edge is, eV.
    grid : (g,) energies, eV.
    smooth : (g, n) to the smooth curve on the grid, above the pre-edge line.
    slope : (g, n) to its derivative, 1/eV.
    step : (n,) to the edge step.
    """

    edge: float
    grid: Array
    smooth: Array
    slope: Array
    step: Array


def local_quadratic(energies: Array, grid: Array, width: float) -> tuple[Array, Array]:
    """Set up local quadratic regression.

    Parameters
    ----------
    energies : (n,) eV, in any order, with repeats; at least five different ones.
    grid : (g,) where the curve is wanted, eV.
    width : least half width of the kernel, eV; it is wider where energies are sparse.

    Returns
    -------
    (g, n) operator to the value and (g, n) operator to the derivative.
    """
    order = np.argsort(energies, kind="stable")
    half = np.maximum(width, 1.001 * _to_neighbours(distinct(energies), grid))[:, None]
    first = np.searchsorted(energies, grid - half[:, 0], sorter=order)
    last = np.searchsorted(energies, grid + half[:, 0], "right", sorter=order)
    # only the energies (g, w) that the kernel reaches; what is filled up lies outside of it
    near = order[np.minimum(first[:, None] + np.arange((last - first).max()), len(order) - 1)]
    inside = np.arange(near.shape[1]) < (last - first)[:, None]
    scaled = (energies[near] - grid[:, None]) / half
    weight = np.where(inside, 1.0 - scaled**2, 0.0)
    design = np.stack([np.ones_like(scaled), scaled, scaled**2], axis=1)
    weighted = design * weight[:, None]
    solved = np.linalg.inv(weighted @ design.transpose(0, 2, 1))[:, :2] @ weighted
    solved[:, 1] /= half
    out = np.zeros((2, len(grid), len(energies)))
    rows, taken = np.nonzero(inside)
    out[:, rows, near[rows, taken]] = solved[rows, :, taken].T
    return out[0], out[1]


def _to_neighbours(energies: Array, grid: Array) -> Array:
    """Measure the distance (g,) to the fifth nearest of different energies in rising order, eV."""
    place = np.searchsorted(energies, grid)[:, None] + np.arange(-_NEIGHBOURS - 1, _NEIGHBOURS + 1)
    inside = (place >= 0) & (place < len(energies))
    near = energies[np.clip(place, 0, len(energies) - 1)]
    away = np.where(inside, np.abs(near - grid[:, None]), np.inf)
    return np.partition(away, _NEIGHBOURS, axis=1)[:, _NEIGHBOURS]


def distinct(energies: Array) -> Array:
    """Sort energies and drop those that only repeat another."""
    ordered = np.sort(energies)
    return ordered[np.append(True, np.diff(ordered) > _SAME_EV)]


def make_operators(
    energies: Array, edge: float, settings: XanesSettings
) -> SpectrumOperators | None:
    """Set up operators for spectra measured at these energies, None if they do not span the edge.

    Parameters
    ----------
    energies : (n,) eV, in any order.
    edge : about where the edge is, eV.
    """
    if len(distinct(energies)) <= _NEIGHBOURS:
        return None
    grid = np.arange(
        max(edge - _BELOW_EV, energies.min()), min(edge + _ABOVE_EV, energies.max()), GRID_EV
    )
    before = edge_line(energies, edge, -settings.pre_edge, np.append(grid, edge))
    after = edge_line(energies, edge, settings.post_edge, np.array([edge]))
    if before is None or after is None:
        return None
    value, slope = local_quadratic(energies, grid, settings.smooth)
    return SpectrumOperators(
        edge=edge, grid=grid, smooth=value - before[:-1], slope=slope, step=after[0] - before[-1]
    )


def edge_line(energies: Array, edge: float, away: float, at: Array) -> Array | None:
    """Set up the (m, n) operator to the line on one side of the edge.

    It is a constant where energies are few, and None with fewer than two of them.

    Parameters
    ----------
    energies : (n,) eV. edge : eV. at : (m,) where the line is wanted, eV.
    away : distance from the edge, eV, negative below it; somewhat nearer if no energies lie there.
    """
    for limit in (edge + away, edge + _NARROW * away):
        chosen = energies <= limit if away < 0 else energies >= limit
        if np.count_nonzero(chosen) >= 2:
            break
    else:
        return None
    known = energies[chosen]
    out = np.zeros((len(at), len(energies)))
    out[:, chosen] = 1 / len(known)
    if len(known) >= _LINE_POINTS and np.ptp(known) >= _LINE_SPAN_EV:
        apart = known - known.mean()
        out[:, chosen] += np.outer(at - known.mean(), apart / (apart @ apart))
    return out


def steepest(energies: Array, spectrum: Array) -> float:
    """Find where a line through the neighbours rises most, eV; NaN with fewer than five energies.

    Parameters
    ----------
    energies : (n,) eV, in any order, with repeats. spectrum : (n,).
    """
    if len(distinct(energies)) <= _NEIGHBOURS:
        return float("nan")
    order = np.argsort(energies, kind="stable")
    x, y = energies[order] - energies.min(), spectrum[order] - spectrum.mean()
    places = np.arange(len(x))
    low = np.minimum(np.searchsorted(x, x - _STEEP_EV), places - 2).clip(0)
    high = np.maximum(np.searchsorted(x, x + _STEEP_EV, "right"), places + 3).clip(max=len(x))
    n = high - low
    totals = np.cumsum([x, y, x * x, x * y], axis=1)
    totals = np.concatenate([np.zeros((4, 1)), totals], axis=1)
    sx, sy, sxx, sxy = totals[:, high] - totals[:, low]
    spread = n * sxx - sx**2
    slope = np.where(spread > 1e-6, (n * sxy - sx * sy) / np.maximum(spread, 1e-6), -np.inf)
    return float(energies.min() + x[np.argmax(slope)])


# Edge energy and white line of many spectra at once.


@dataclass(frozen=True, slots=True, kw_only=True)
class Edges:
    """Edge and white line of p spectra, each (p,), NaN where they are not known.

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


def find_edges(
    operators: SpectrumOperators, spectra: NDArray[np.floating], min_step: float
) -> Edges:
    """Find edge and white line of spectra.

    Parameters
    ----------
    operators : for the energies of the spectra.
    spectra : (n, p), optical density.
    min_step : smallest edge step that counts as an edge, OD.
    """
    kind = spectra.dtype
    step = np.asarray(operators.step.astype(kind, copy=False) @ spectra, np.float64)
    seen = step >= min_step
    scale = np.where(seen, step, np.nan)
    with np.errstate(invalid="ignore"):
        shape = (operators.smooth.astype(kind, copy=False) @ spectra) / scale.astype(
            kind, copy=False
        )
    energy, index, sharpness = _half(operators, shape)
    white_line, height = _white(operators, shape, energy)
    return Edges(
        step=step,
        energy=energy,
        inflection=np.where(seen, _inflection(operators, spectra), np.nan),
        white_line=white_line,
        white_height=height,
        sharpness=sharpness,
        index=index,
    )


def _half(
    operators: SpectrumOperators, shape: NDArray[np.floating]
) -> tuple[Array, NDArray[np.intp], Array]:
    """Find the rise through one half that is nearest to where the edge is expected."""
    columns = np.arange(shape.shape[1])
    nearest = np.argsort(np.abs(operators.grid[:-1] - operators.edge), kind="stable")
    rises = ((shape[:-1] < 0.5) & (shape[1:] >= 0.5))[nearest]
    first = np.argmax(rises, axis=0)
    index, found = nearest[first], rises[first, columns]
    below = shape[index, columns].astype(np.float64)
    rise = shape[index + 1, columns] - below
    with np.errstate(invalid="ignore", divide="ignore"):
        energy = operators.grid[index] + GRID_EV * (0.5 - below) / rise
    nan = np.nan
    return (
        np.where(found, energy, nan),
        np.where(found, index, -1),
        np.where(found, rise / GRID_EV, nan),
    )


def _inflection(operators: SpectrumOperators, spectra: NDArray[np.floating]) -> Array:
    near = np.abs(operators.grid - operators.edge) <= _INFLECTION_EV
    slope = operators.slope[near].astype(spectra.dtype, copy=False) @ spectra
    vertex, _ = _vertex(operators.grid[near], slope, np.argmax(slope, axis=0), reach=2)
    return vertex


def _white(
    operators: SpectrumOperators, shape: NDArray[np.floating], energy: Array
) -> tuple[Array, Array]:
    near = (operators.grid >= operators.edge - 5.0) & (
        operators.grid <= operators.edge + _WHITE_REACH_EV
    )
    grid, part = operators.grid[near], shape[near]
    above = grid[:, None] >= energy[None]
    peak = np.argmax(np.where(above & np.isfinite(part), part, -np.inf), axis=0)
    vertex, height = _vertex(grid, part, peak, reach=round(_WHITE_EV / GRID_EV))
    missing = ~np.isfinite(energy)
    vertex[missing], height[missing] = np.nan, np.nan
    return vertex, height


def _vertex(
    grid: Array, values: NDArray[np.floating], peak: NDArray[np.intp], reach: int
) -> tuple[Array, Array]:
    """Find the vertices of parabolas through values (g, p) next to their maxima (p,).

    They go through the values within `reach` places. NaN if it is no maximum inside these.
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
    return (np.where(inside, grid[middle] + place, np.nan), np.where(inside, height, np.nan))


@lru_cache
def _parabola(reach: int) -> Array:
    """Set up the operator (3, 2 * reach + 1) to the parabola through as many values on the grid."""
    x = np.arange(-reach, reach + 1) * GRID_EV
    design = np.stack([np.ones_like(x), x, x**2], axis=1)
    return np.asarray(np.linalg.pinv(design), np.float64)
