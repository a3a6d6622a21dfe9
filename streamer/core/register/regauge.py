"""Another gauge for results that exist already: drift and deformation are separated anew."""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ....models.arrays import Array

Rows = NDArray[np.intp]
Point = tuple[float, float]
_AXES = ("y", "x")


def regauge(
    particles: pd.DataFrame,
    frames: pd.DataFrame,
    reference: Collection[int],
    axis_yx: Point | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Declare the mean motion of chosen particles to be drift.

    Positions and displacements are those of the image and stay. The residual beyond drift and
    affine stays too where an affine was fitted, as it takes up whatever drift leaves; elsewhere
    it changes by as much as the drift does.

    Parameters
    ----------
    particles, frames : rows of the streams of one run; the highest revision of each frame counts.
    reference : identities that define the drift; one for a named particle, all for the mean.
        While none of them is seen, the drift goes on as it was published.
    axis_yx : px, point that stays when the magnification changes: the start document's, or the
        centre of the frame. Needed if the profile gave the magnification.

    Returns
    -------
    particles : with new `residual_y`, `residual_x`, and `deformation_y`, `deformation_x`, px: the
        motion beyond drift since first tracked. frames : with new `drift_y`, `drift_x`,
        `drift_sigma` and `gauge`.

    Raises
    ------
    ValueError
        If no particle of the reference exists, or the axis is needed.
    """
    particles, frames = _newest(particles), _newest(frames).sort_values("frame")
    names = np.asarray(particles["particle"])
    if not set(reference) & set(names.tolist()):
        known = sorted(set(names.tolist()))
        raise ValueError(f"reference {sorted(reference)} has no particle of {known}")
    count = np.asarray(frames["frame"])
    row = np.searchsorted(count, np.asarray(particles["frame"]))
    begun = np.searchsorted(count, _first_frames(particles))
    moved = _motion(particles, _scale(frames), row, begun, axis_yx)
    seen = np.isfinite(np.asarray(particles["area"])) & np.isfinite(moved).all(axis=1)
    chosen = np.flatnonzero(seen & np.isin(names, list(reference)))
    old = _vectors(frames, "drift_")
    drift = _follow(row[chosen], names[chosen], moved[chosen], old)
    change = np.where(np.isfinite(np.asarray(frames["rotation"]))[:, None], 0.0, drift - old)
    particles, frames = particles.copy(), frames.copy()
    for k, axis in enumerate(_AXES):
        particles[f"residual_{axis}"] -= change[row, k]
        particles[f"deformation_{axis}"] = moved[:, k] - (drift[row, k] - drift[begun, k])
        frames[f"drift_{axis}"] = drift[:, k]
    frames["drift_sigma"] = _error(row[chosen], _vectors(particles, "sigma_")[chosen], len(frames))
    frames["gauge"] = "particle" if len(reference) == 1 else "mean"
    return particles, frames


def _newest(rows: pd.DataFrame) -> pd.DataFrame:
    newest = rows["revision"] == rows.groupby("frame")["revision"].transform("max")
    return cast("pd.DataFrame", rows.loc[newest]).reset_index(drop=True)


def _vectors(rows: pd.DataFrame, prefix: str) -> Array:
    return np.column_stack([np.asarray(rows[f"{prefix}{axis}"], np.float64) for axis in _AXES])


def _first_frames(particles: pd.DataFrame) -> NDArray[np.int64]:
    return np.asarray(particles.groupby("particle")["frame"].transform("min"))


def _scale(frames: pd.DataFrame) -> Array:
    """Return the magnification (F,) that was divided out."""
    known = np.asarray(frames["magnification_sigma"]) == 0
    return np.where(known, np.asarray(frames["magnification"], np.float64), 1.0)


def _motion(
    particles: pd.DataFrame, scale: Array, row: Rows, begun: Rows, axis_yx: Point | None
) -> Array:
    """Return the motion (N, 2) since first tracked, the magnification divided out, px."""
    moved = _vectors(particles, "displacement_")
    if (scale == 1.0).all():
        return moved
    if axis_yx is None:
        raise ValueError("the magnification was divided out: give axis_yx, px")
    away = _vectors(particles, "") - np.asarray(axis_yx)
    return away / scale[row, None] - (away - moved) / scale[begun, None]


def _follow(row: Rows, names: NDArray[np.int64], moved: Array, old: Array) -> Array:
    """Average the motion of each less its own so far: who drops out makes no step."""
    drift = np.zeros_like(old)
    own: dict[int, Array] = {}
    for i in range(len(old)):
        here = np.flatnonzero(row == i)
        known = [moved[k] - own[int(names[k])] for k in here if int(names[k]) in own]
        if known:
            drift[i] = np.mean(known, axis=0)
        elif i:
            drift[i] = drift[i - 1] + np.nan_to_num(old[i] - old[i - 1])
        own.update({int(names[k]): moved[k] - drift[i] for k in here})
    return drift


def _error(row: Rows, sigma: Array, frames: int) -> Array:
    """Return the standard error (F,) of a mean of positions, px per component, or NaN."""
    total = np.bincount(row, (sigma**2).mean(axis=1), minlength=frames)
    count = np.bincount(row, minlength=frames)
    return np.where(count > 0, np.sqrt(total) / np.maximum(count, 1), np.nan)
