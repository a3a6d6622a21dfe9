"""The common shift of a field: what its tracks and detections agree on."""

from __future__ import annotations

import numpy as np

from ...models.arrays import Array
from ...models.detections import Detections
from .look import positions
from .settings import LinkSettings
from .tracks import LinkState, TrackState
from .voting import common_shift, shape_similarity

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
