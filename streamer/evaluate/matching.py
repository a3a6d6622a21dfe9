"""Which result particle is which true particle.

Two views of the same instances: one assignment for whole trajectories, which decides what is
compared with what, and one assignment per frame, which shows where identities change (the CLEAR
MOT convention, doi:10.1155/2008/246309).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from ...models.arrays import Array

Ints = NDArray[np.int64]


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
    """How often the identity that explains a particle changes, (P,); gaps are skipped."""
    changes = np.zeros(frame_id.shape[1], dtype=np.int64)
    for particle, column in enumerate(frame_id.T):
        known = column[column >= 0]
        changes[particle] = np.count_nonzero(np.diff(known))
    return changes


def count_gaps(frame_id: Ints, wanted: NDArray[np.bool_]) -> Ints:
    """How often a particle is found, then missed although `wanted`, then found again, (P,)."""
    gaps = np.zeros(frame_id.shape[1], dtype=np.int64)
    for particle in range(frame_id.shape[1]):
        found = frame_id[wanted[:, particle], particle] >= 0
        seen = np.flatnonzero(found)
        if seen.size:
            span = found[seen[0] : seen[-1] + 1].astype(np.int8)
            gaps[particle] = np.count_nonzero(np.diff(span) == -1)
    return gaps
