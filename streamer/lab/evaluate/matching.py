"""Match result particles with true ones.

Two views of the same instances: one assignment for whole trajectories, which decides what is
compared with what, and one assignment per frame, which shows where identities change (the CLEAR
MOT convention, doi:10.1155/2008/246309).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from ....models.arrays import Array
from ..simulate.truth import Truth

Ints = NDArray[np.int64]
_SIGMAS = ["sigma_y", "sigma_x"]
Revision = Literal["highest", "first"]
MEASURED = ("tentative", "tracked")
"""States in which a position was measured; coasting positions are predictions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """Result particles (K of them) against true particles (P) in F frames.

    Attributes
    ----------
    ids : (K,) identities in the results, ascending.
    yx : (F, K, 2) their positions, NaN where there is none, px.
    owner : (K,) the true particle that a trajectory belongs to, -1 for none.
    hit : (F, K) bool, the result lies within the gate of its owner.
    near : (F, K) bool, it lies within the gate of any true particle that is there.
    frame_id : (F, P) row in `ids` that explains a true particle in that frame, -1 for none.
    """

    ids: Ints
    yx: Array
    owner: Ints
    hit: NDArray[np.bool_]
    near: NDArray[np.bool_]
    frame_id: Ints


def match(yx: Array, ids: Ints, true_yx: Array, visible: NDArray[np.bool_], gate: Array) -> Matches:
    """Match results with the truth.

    Parameters
    ----------
    yx : (F, K, 2) result positions, NaN where there is none, px.
    ids : (K,) their identities.
    true_yx : (F, P, 2) px.
    visible : (F, P) bool, where a true particle may be matched.
    gate : (P,) largest distance of a match, px.

    Returns
    -------
    Matches
    """
    distance = np.linalg.norm(yx[:, :, None] - true_yx[:, None], axis=-1)
    inside = (distance <= gate) & visible[:, None]
    owner = _trajectories(inside, distance, gate)
    own = np.maximum(owner, 0)[None, :, None]
    hit = np.take_along_axis(inside, np.broadcast_to(own, (len(yx), len(ids), 1)), 2)[..., 0]
    return Matches(
        ids=ids,
        yx=yx,
        owner=owner,
        hit=hit & (owner >= 0),
        near=inside.any(axis=2),
        frame_id=_per_frame(inside, distance),
    )


def _trajectories(inside: NDArray[np.bool_], distance: Array, gate: Array) -> Ints:
    """Give each true particle the trajectories that explain it best.

    The Hungarian assignment gives one trajectory to each particle; what is left over belongs to
    the particle it lies on most often, so that a new identity after a loss is not a false track.
    """
    closeness = np.where(inside, 1.5 - np.nan_to_num(distance) / (2 * gate), 0.0).sum(axis=0)
    owner = np.where(closeness.max(axis=1, initial=0) > 0, closeness.argmax(axis=1), -1)
    rows, columns = linear_sum_assignment(closeness, maximize=True)
    sure = closeness[rows, columns] > 0
    owner[rows[sure]] = columns[sure]
    return owner.astype(np.int64)


def _per_frame(inside: NDArray[np.bool_], distance: Array) -> Ints:
    found = np.full((inside.shape[0], inside.shape[2]), -1, dtype=np.int64)
    cost = np.where(inside, np.nan_to_num(distance), 1e9)
    for frame in range(len(found)):
        rows, columns = linear_sum_assignment(cost[frame])
        for row, column in zip(rows, columns, strict=True):
            if inside[frame, row, column]:
                found[frame, column] = row
    return found


def count_switches(frame_id: Ints) -> Ints:
    """Count how often the identity that explains a particle changes, (P,); gaps are skipped."""
    changes = np.zeros(frame_id.shape[1], dtype=np.int64)
    for particle, column in enumerate(frame_id.T):
        known = column[column >= 0]
        changes[particle] = np.count_nonzero(np.diff(known))
    return changes


def count_gaps(frame_id: Ints, wanted: NDArray[np.bool_]) -> Ints:
    """Count how often a particle is found, missed although `wanted`, and found again, (P,)."""
    gaps = np.zeros(frame_id.shape[1], dtype=np.int64)
    for particle in range(frame_id.shape[1]):
        found = frame_id[wanted[:, particle], particle] >= 0
        seen = np.flatnonzero(found)
        if seen.size:
            span = found[seen[0] : seen[-1] + 1].astype(np.int8)
            gaps[particle] = np.count_nonzero(np.diff(span) == -1)
    return gaps


# Rows of the ``particles`` stream beside the truth: which is which, and how far off.


def usable_rows(particles: pd.DataFrame, truth: Truth, revision: Revision) -> pd.DataFrame:
    """Select the rows of one revision that hold a position.

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
    """Compute errors of all instances of wholly visible true particles.

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
    """Compute errors below and above the edge with an offset removed on either side by itself.

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
    """Return measured positions of the true particles, (F, P, 2) px, NaN where there are none.

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
    """Arrange columns of the rows as (F, K, C), NaN where an identity has no row."""
    table = np.full((n_frames, len(ids), len(columns)), np.nan)
    column = np.searchsorted(ids, rows["particle"].to_numpy(np.int64))
    table[rows["frame"].to_numpy(np.int64), column] = rows[columns].to_numpy(np.float64)
    return table


# Choosing rows of the ``particles`` table.


def where(table: pd.DataFrame, mask: Any) -> pd.DataFrame:
    """Select rows of a table for which `mask` holds."""
    return cast("pd.DataFrame", table.loc[mask])


def of_revision(particles: pd.DataFrame, revision: Revision) -> pd.DataFrame:
    """Select rows of the ``highest`` revision of each frame, or of the ``first``.

    A particle that the highest revision of a frame no longer holds was retracted with it.
    """
    if revision == "first":
        return where(particles, particles["revision"] == 0)
    newest = particles.groupby("frame")["revision"].transform("max")
    return where(particles, particles["revision"] == newest)
