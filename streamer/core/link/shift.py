"""The common shift of a field: what its tracks and detections agree on."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ....models.arrays import Array
from ....models.detector import Detections
from .look import positions
from .settings import LinkSettings
from .tracks import LinkState, TrackState

_SEEN_OFTEN = (TrackState.TRACKED, TrackState.COASTING, TrackState.LOST)
_FIELD = 3  # particles from which one alone does not tell a common shift
_NEAR_MISSES = 3
_DOUBTFUL = 0.3  # support below which the field may have jumped further than it should


def field_shift(
    state: LinkState, detections: Detections, settings: LinkSettings
) -> tuple[Array, float]:
    """Find the shift of the whole field since the frame before.

    Returns
    -------
    shift : (2,) float64, px; zero if none is found.
    votes : fraction of the living tracks that agree, 0..1; NaN without tracks.
    """
    voters = [
        t
        for t in state.tracks
        if t.state in _SEEN_OFTEN and (state.new_run or t.misses <= _NEAR_MISSES)
    ]
    voters = voters or list(state.tracks)
    sure = np.flatnonzero(detections.score >= settings.min_score)
    if not voters or len(sure) == 0:
        return np.zeros(2), float("nan")
    weights = shape_similarity(
        np.array([t.area for t in voters]),
        np.array([t.moments for t in voters]),
        detections.area[sure],
        detections.moments[sure],
    )
    # a cut mask has lost its shape and its centre, but is a hint where there is little else
    cut = detections.cut[sure]
    if np.count_nonzero(~cut) >= _FIELD:
        weights = np.where(cut, 0.0, weights)
    else:
        weights = np.maximum(weights, np.where(cut, 0.1, 0.0)[None])
    predicted = positions([t.yx + t.velocity for t in voters]) + state.shift
    field = len(voters) >= _FIELD

    def vote(reach: float, agreeing: int) -> tuple[Array, float]:
        return common_shift(
            predicted,
            detections.yx[sure],
            weights,
            # over the time between two runs the field deforms
            width=settings.vote_width_px * (2 if state.new_run else 1),
            max_shift=reach,
            agreeing=agreeing if field else 1,
        )

    far = settings.max_jump_new_run_px
    if state.new_run:
        return vote(far, 2)
    shift, support = vote(settings.max_jump_px, 2)
    if field and support < _DOUBTFUL:
        further = vote(far, _FIELD)
        if further[1] > 2 * support:
            return further
    return shift, support


# Common shift of a field of particles by voting over pairwise displacements.


def shape_similarity(areas: Array, moments: Array, areas_new: Array, moments_new: Array) -> Array:
    """Similarity of mask shapes, blind to intensity.

    Parameters
    ----------
    areas, areas_new : (N,) and (M,) float64, px^2.
    moments, moments_new : (N, 3) and (M, 3) float64, central second moments (yy, xx, yx), px^2.

    Returns
    -------
    (N, M) float64 in 0..1; 1 for the same area and normalised moments.
    """
    log_area = np.log(np.maximum(areas[:, None], 1.0) / np.maximum(areas_new[None], 1.0))
    normal = moments / np.maximum(areas, 1.0)[:, None]
    normal_new = moments_new / np.maximum(areas_new, 1.0)[:, None]
    # a disc has yy/area = 1/(4 pi) = 0.08: differences of a third of that count as one sigma
    shape = ((normal[:, None] - normal_new[None]) ** 2).sum(-1) / 0.03**2
    return np.exp(-0.5 * (log_area**2 / 0.25**2 + shape))


def common_shift(
    predicted: Array,
    seen: Array,
    weights: Array,
    *,
    width: float,
    max_shift: float,
    agreeing: int = 1,
) -> tuple[Array, float]:
    """Find the shift that most particles agree on.

    Every pair of a predicted and a seen position proposes its displacement; every particle gives
    each proposal its best-matching vote, so that a crowded corner cannot outvote the field. A
    mild preference for short shifts breaks ties of periodic fields.

    Parameters
    ----------
    predicted : (N, 2) float64, (y, x) positions expected without a common shift, px.
    seen : (M, 2) float64, detected positions, px.
    weights : (N, M) float64, similarity of each pair, 0..1.
    width : sigma of one vote, px.
    max_shift : longest shift considered, px.
    agreeing : particles that must agree on a shift; one alone may be a chance resemblance.

    Returns
    -------
    shift : (2,) float64, added to `predicted` to land on `seen`, px; zero if none is found.
    support : fraction of the N particles that agree (weighted votes), 0..1; NaN if N = 0.
    """
    if len(predicted) == 0:
        return np.zeros(2), float("nan")
    pairs = seen[None] - predicted[:, None]  # (N, M, 2)
    allowed = (np.hypot(pairs[..., 0], pairs[..., 1]) <= max_shift) & (weights > 0.02)
    if not allowed.any():
        return np.zeros(2), 0.0
    rows, columns = np.nonzero(allowed)
    candidates, weight = pairs[rows, columns], weights[rows, columns]  # of K pairs
    distance2 = ((candidates[None] - candidates[:, None]) ** 2).sum(-1)  # (K, K)
    votes = weight * np.exp(-0.5 * distance2 / width**2)
    # the pairs are in the order of their particles: the best vote of each that has any
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    support = np.maximum.reduceat(votes, starts, axis=1).sum(axis=1)
    prior = 1.0 - 0.25 * np.hypot(candidates[:, 0], candidates[:, 1]) / max_shift
    best = int(np.argmax(support * prior))
    chosen = np.array(
        [s + votes[best, s:e].argmax() for s, e in pairwise([*starts, len(rows)])], dtype=np.intp
    )
    strength = votes[best, chosen]
    agree = strength > 0.05
    if np.count_nonzero(agree) < agreeing:
        return np.zeros(2), 0.0
    shift = np.average(candidates[chosen][agree], axis=0, weights=strength[agree])
    return shift, float(support[best] / len(predicted))
