"""Common shift of a field: the one its detections vote for, or, without any, its image."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ....models.arrays import Array, Mask
from ....models.detector import Detections
from .masks import PlacedMask, positions
from .settings import LinkSettings
from .tracks import LinkState, TrackState

_SEEN_OFTEN = (TrackState.TRACKED, TrackState.COASTING, TrackState.LOST)
_FIELD = 3  # particles from which one alone does not tell a common shift; by eye
_NEAR_MISSES = 3  # frames without a detection after which a place says little; by eye
_DOUBTFUL = 0.3  # support below which the field may have jumped further than it should; by eye
_CELLS = 128  # along the longer side of the frame; by eye
_REACH = 0.1  # longest jump, in units of that side; by eye
_BACKGROUND_CELLS = 3.0  # what varies more slowly does not count; by eye
_LIKENESS = 0.3  # least correlation of masks and image; by eye
_SHORTER = 0.25  # how much more a zero jump is worth than the longest; by eye


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
    # over the time between two runs the field deforms
    width = settings.vote_width_px * (2 if state.new_run else 1)
    vote = partial(common_shift, predicted, detections.yx[sure], weights, width=width)
    far = settings.max_jump_new_run_px
    reach = far if state.new_run else settings.max_jump_px
    shift, support = vote(max_shift=reach, agreeing=2 if field else 1)
    if field and not state.new_run and support < _DOUBTFUL:
        further = vote(max_shift=far, agreeing=_FIELD)
        if further[1] > 2 * support:
            return further
    return shift, support


def shape_similarity(areas: Array, moments: Array, areas_new: Array, moments_new: Array) -> Array:
    """Compare the shapes of masks, blind to intensity.

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


# The common shift without detections, from known masks and the image.


def estimate_jump(
    od: NDArray[np.float32], valid: Mask, masks: Sequence[PlacedMask]
) -> tuple[Array, float]:
    """Shift known masks together until they fit the image best.

    Particles are denser than what is around them, whatever the energy: the masks, drawn where they
    are expected without a common shift, and the image are averaged over cells, freed of what varies
    slowly, and cross-correlated (Lewis 1995, Fast normalized cross-correlation, Vision Interface).

    Parameters
    ----------
    od : (H, W) float32, optical density. valid : (H, W) bool, pixels that may be used.
    masks : of the particles, where they are expected.

    Returns
    -------
    shift : (2,) float64, added to the expected places to land on the particles, px, to a fraction
        of a cell of 1/128 of the frame; zero if there is no likeness.
    likeness : normalised correlation of masks and image there, -1..1; NaN without any mask.
    """
    step = ceil(max(od.shape) / _CELLS)
    drawn = _sharp(_draw(masks, step, (od.shape[0] // step, od.shape[1] // step)))
    picture = _sharp(_cells(od, valid, step))
    norm = float(np.sqrt((drawn**2).sum() * (picture**2).sum()))
    if norm == 0:
        return np.zeros(2), float("nan")
    reach = max(2, round(_REACH * _CELLS))
    values = _correlate(drawn, picture, reach) / norm
    away = np.linalg.norm(np.indices(values.shape) - reach, axis=0)
    rated = np.where(away <= reach, values, -1.0) * (1 - _SHORTER * away / reach)
    row, column = np.unravel_index(int(rated.argmax()), values.shape)
    best = float(values[row, column])
    if best < _LIKENESS:
        return np.zeros(2), best
    at = (_vertex(values[:, column], int(row)), _vertex(values[row], int(column)))
    return (np.array(at) - reach) * step, best


def _cells(od: NDArray[np.float32], valid: Mask, step: int) -> Array:
    """Average the valid pixels of step x step cells; the median where there is none."""
    h, w = od.shape[0] // step, od.shape[1] // step
    count, total = np.zeros((h, w)), np.zeros((h, w))
    for into, pixels in ((count, valid), (total, np.where(valid, od, np.float32(0)))):
        rows = np.zeros((h, w * step))
        for i in range(step):
            rows += pixels[i : h * step : step, : w * step]
        for i in range(step):
            into += rows[:, i::step]
    seen = 2 * count >= step**2
    out = total / np.maximum(count, 1)
    return np.where(seen, out, np.median(out[seen]) if seen.any() else 0.0)


def _draw(masks: Sequence[PlacedMask], step: int, shape: tuple[int, int]) -> Array:
    """Draw masks in cells, from a few samples of each; what lies outside of the frame has none."""
    out = np.zeros(shape)
    every = max(1, step // 4)
    first = every // 2
    for placed in masks:
        samples = np.argwhere(placed.mask[first::every, first::every]) * every + first
        at = (samples + placed.corner) // step
        inside = ((at >= 0) & (at < shape)).all(axis=1)
        np.add.at(out, tuple(at[inside].T), (every / step) ** 2)
    return out


def _sharp(picture: Array) -> Array:
    return picture - gaussian_filter(picture, _BACKGROUND_CELLS, mode="nearest", truncate=3.0)


def _correlate(drawn: Array, picture: Array, reach: int) -> Array:
    """Cross-correlate at shifts of up to `reach` cells, (2 reach + 1, 2 reach + 1)."""
    sizes = [16 * ceil((n + reach) / 16) for n in drawn.shape]  # quick to transform
    product = np.fft.rfft2(picture, sizes) * np.conj(np.fft.rfft2(drawn, sizes))
    values = np.roll(np.fft.irfft2(product, sizes), (reach, reach), axis=(0, 1))
    return values[: 2 * reach + 1, : 2 * reach + 1]


def _vertex(values: Array, at: int) -> float:
    """Find the vertex of the parabola through a peak and its neighbours."""
    if not 0 < at < len(values) - 1:
        return float(at)
    left, middle, right = values[at - 1 : at + 2]
    bend = left - 2 * middle + right
    return at + 0.5 * float((left - right) / bend) if bend < 0 else float(at)
