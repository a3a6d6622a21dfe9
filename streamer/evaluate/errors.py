"""Rows of the ``particles`` stream beside the truth: which is which, and how far off."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ...models.arrays import Array
from ..simulate.truth import Truth
from .matching import Matches, match
from .tables import Revision, of_revision, where

_SIGMAS = ["sigma_y", "sigma_x"]


def usable_rows(particles: pd.DataFrame, truth: Truth, revision: Revision) -> pd.DataFrame:
    """Rows of one revision that hold a position.

    Raises
    ------
    ValueError
        If a column is missing, or frames have no truth.
    """
    needed = {"frame", "particle", "y", "x", "state", "revision"}
    if missing := needed - set(particles.columns):
        raise ValueError(f"particles: columns {sorted(missing)} are missing")
    rows = where(particles, np.isfinite(particles["y"]) & np.isfinite(particles["x"]))
    if len(rows) and not 0 <= rows["frame"].min() <= rows["frame"].max() < truth.n_frames:
        raise ValueError(
            f"particles: frames {rows['frame'].min()}..{rows['frame'].max()} but the truth has "
            f"{truth.n_frames}; select the frames of this run with Truth.select"
        )
    return of_revision(rows, revision)


def match_rows(rows: pd.DataFrame, truth: Truth, gate: float) -> Matches:
    """Match rows with the visible true particles; `gate` in radii of the true particle."""
    ids = np.unique(rows["particle"].to_numpy(np.int64))
    yx = _by_identity(rows, ["y", "x"], ids, truth.n_frames)
    return match(yx, ids, truth.yx, truth.visible, gate * truth.radius)


def position_errors(matches: Matches, rows: pd.DataFrame, truth: Truth) -> pd.DataFrame:
    """Errors of all instances of wholly visible true particles.

    Returns
    -------
    One row per instance: frame, energy, region, truth, particle, raw_dy, raw_dx, and dy, dx with
    the mean of each true particle removed, px; sigma_y, sigma_x if the rows have them.
    """
    frame, row = np.nonzero(matches.hit)
    owner = matches.owner[row]
    keep = truth.whole[frame, owner]
    frame, row, owner = frame[keep], row[keep], owner[keep]
    difference = matches.yx[frame, row] - truth.yx[frame, owner]
    errors = pd.DataFrame(
        {
            "frame": frame,
            "energy": truth.energies[frame],
            "region": truth.region[frame],
            "truth": owner,
            "particle": matches.ids[row],
            "raw_dy": difference[:, 0],
            "raw_dx": difference[:, 1],
        }
    )
    offset = errors.groupby("truth")[["raw_dy", "raw_dx"]].transform("mean")
    errors["dy"] = errors["raw_dy"] - offset["raw_dy"]
    errors["dx"] = errors["raw_dx"] - offset["raw_dx"]
    if set(_SIGMAS) <= set(rows.columns):
        sigma = _by_identity(rows, _SIGMAS, matches.ids, truth.n_frames)
        errors[_SIGMAS] = sigma[frame, row]
    return errors


def within_sides(errors: pd.DataFrame) -> pd.DataFrame:
    """Errors below and above the edge with an offset removed on either side by itself.

    Returns
    -------
    The rows ``below`` and ``above`` of particles that have two or more on that side; dy, dx are
    replaced, and scaled so that the lost degree of freedom does not make them small.
    """
    sides = where(errors, errors["region"] != "at")
    groups = sides.groupby(["truth", "region"])[["raw_dy", "raw_dx"]]
    count = np.asarray(groups.transform("count"), np.float64)
    scale = np.sqrt(count / np.maximum(count - 1, 1))
    left = (sides[["raw_dy", "raw_dx"]] - groups.transform("mean")) * scale
    table = sides.assign(dy=left["raw_dy"], dx=left["raw_dx"])
    return where(table, count[:, 0] > 1)


def positions(errors: pd.DataFrame, truth: Truth) -> Array:
    """Measured position of each true particle in each frame, (F, P, 2) px, NaN where there is none.

    Parameters
    ----------
    errors : of :func:`position_errors` or of a score.
    truth : the same as there.
    """
    yx = np.full(truth.yx.shape, np.nan)
    at = errors["frame"].to_numpy(), errors["truth"].to_numpy()
    yx[at] = truth.yx[at] + errors[["raw_dy", "raw_dx"]].to_numpy()
    return yx


def _by_identity(rows: pd.DataFrame, columns: list[str], ids: np.ndarray, n_frames: int) -> Array:
    """Columns of the rows as (F, K, C), NaN where an identity has no row."""
    table = np.full((n_frames, len(ids), len(columns)), np.nan)
    column = np.searchsorted(ids, rows["particle"].to_numpy(np.int64))
    table[rows["frame"].to_numpy(np.int64), column] = rows[columns].to_numpy(np.float64)
    return table
