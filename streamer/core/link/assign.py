"""Match the detections of a frame with the tracks: divide and join them, then assign.

Detections are first divided and joined where they do not fit the expected masks. The assignment is
the Hungarian one in three rounds: first what is near its expected place among the sure detections,
then what is left among the weak ones (doi 10.48550/arXiv.2110.06864), then, further away, only what
looks the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from ....models.arrays import Array, Mask
from ....models.detector import Detections
from ....models.divide import Seed, divide, join
from .masks import (
    DetectionView,
    PlacedMask,
    overlap,
    place_cut,
    positions,
    similarity,
    visible_part,
)
from .settings import LinkSettings
from .tracks import LinkState, Track, TrackState

_IMPOSSIBLE = 1e6

# what a detection further away must share with a track: ratio of areas, intersection over union,
# and similarity of thumbnails; by eye
_SAME_AREA = 1.3
_SAME_MASK = 0.6
_SAME_VIEW = 0.5
_WEAK_MASK = 0.5  # intersection over union that a weak detection needs; by eye
_WANDER = 0.08  # of the root of the area: how far masks of large particles wander; by eye
Cost = Callable[[int, int], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnlinkedFrame:
    """One frame before its detections have identities.

    Attributes
    ----------
    views : its N detections.
    tracks : T tracks, and `expected` : their masks where they are expected.
    gates : (T,) float64, how far from there they may be, px.
    valid : (H, W) bool, pixels that can be seen.
    """

    views: tuple[DetectionView, ...]
    tracks: tuple[Track, ...]
    expected: tuple[PlacedMask, ...]
    gates: Array
    valid: Mask


def assign(frame: UnlinkedFrame, settings: LinkSettings) -> dict[int, int]:
    """Find the detection of each track.

    Returns
    -------
    Row of the detection by row of the track; tracks without one are left out.
    """
    scores = np.array([view.score for view in frame.views])
    sure = np.flatnonzero(scores >= settings.min_score).tolist()
    weak = np.flatnonzero(scores < settings.min_score).tolist()
    wide = np.maximum(settings.wide_gate_px, frame.gates)
    near = partial(_near, frame, settings)
    found: dict[int, int] = {}
    for views, reach, cost in (
        (sure, frame.gates, near),
        (weak, frame.gates, partial(near, least=_WEAK_MASK)),
        (sure, wide, partial(_alike, frame, settings, wide)),
    ):
        taken = set(found.values())
        tracks = [t for t in range(len(frame.tracks)) if t not in found]
        found |= _match(frame, reach, tracks, [n for n in views if n not in taken], cost)
    return found


def _match(
    frame: UnlinkedFrame, reach: Array, tracks: list[int], views: list[int], cost: Cost
) -> dict[int, int]:
    """Assign detections to tracks that lie within reach (T,), px, of their expected places."""
    if not tracks or not views:
        return {}
    close = within(frame, reach)[np.ix_(tracks, views)]
    table = np.full(close.shape, _IMPOSSIBLE)
    for row, column in np.argwhere(close):
        table[row, column] = cost(tracks[row], views[column])
    rows, columns = linear_sum_assignment(table)
    return {
        tracks[r]: views[c] for r, c in zip(rows, columns, strict=True) if table[r, c] < _IMPOSSIBLE
    }


def _near(
    frame: UnlinkedFrame, settings: LinkSettings, t: int, n: int, *, least: float = 0.0
) -> float:
    """Rate a detection near the expected place of a track."""
    track, expected, view = frame.tracks[t], frame.expected[t], frame.views[n]
    fitted = place(track, expected, view, frame.valid)
    distance = float(np.hypot(*(fitted.yx - expected.yx))) / frame.gates[t]
    area, iou = _agreement(track, fitted, view, frame.valid)
    limit = settings.max_area_ratio ** (2 if view.cut or not track.whole else 1)
    if distance > 1 or abs(np.log(area)) > np.log(limit) or iou < least:
        return _IMPOSSIBLE
    if iou < 0.5 or distance > 0.7:
        # the views of a cut particle show different shares of it
        alike = view.cut or similarity(track.thumbnail, view.thumbnail) >= settings.min_ssim
        if not alike:
            return _IMPOSSIBLE
    tentative = 0.3 if track.state == TrackState.TENTATIVE else 0.0
    return distance**2 + 2.0 * (1.0 - iou) + (float(np.log(area)) / 0.3) ** 2 * 0.5 + tentative


def _alike(frame: UnlinkedFrame, settings: LinkSettings, reach: Array, t: int, n: int) -> float:
    """Rate a detection further away, which must look the same."""
    track, expected, view = frame.tracks[t], frame.expected[t], frame.views[n]
    fitted = place(track, expected, view, frame.valid)
    distance = float(np.hypot(*(fitted.yx - expected.yx)))
    area, iou = _agreement(track, fitted, view, frame.valid)
    if view.cut and _is_outside(expected, frame.valid):
        # it left, and shows a sliver of itself where it did
        same = view.area <= settings.max_area_ratio * track.area
    elif track.whole:
        same = abs(np.log(area)) <= np.log(_SAME_AREA) and iou >= _SAME_MASK
        same &= view.cut or similarity(track.thumbnail, view.thumbnail) >= _SAME_VIEW
    else:  # it enters, and shows more of itself than before; or it leaves again
        same = area >= 1 / settings.max_area_ratio
    if distance > reach[t] or not same:
        return _IMPOSSIBLE
    return distance / float(reach[t]) + 1.0 - iou


def _is_outside(expected: PlacedMask, valid: Mask) -> bool:
    """Tell whether most of an expected mask cannot be seen."""
    seen = np.count_nonzero(visible_part(expected, valid))
    return bool(2 * seen < np.count_nonzero(expected.mask))


def _agreement(
    track: Track, fitted: PlacedMask, view: DetectionView, valid: Mask
) -> tuple[float, float]:
    """Return area over that of the track, and intersection over union of the masks."""
    area = view.area / max(track.area, 1.0)
    if view.cut and track.whole:
        part = visible_part(fitted, valid)
        area = view.area / max(float(np.count_nonzero(part)), 1.0)
        fitted = replace(fitted, mask=part)
    return area, overlap(fitted, view.placed)


def place(track: Track, expected: PlacedMask, view: DetectionView, valid: Mask) -> PlacedMask:
    """Place the mask of a track such that it is what is seen."""
    if view.cut and track.whole:
        return place_cut(expected, view.placed.yx, valid)
    return replace(expected, yx=view.placed.yx)


def gates(state: LinkState, jump: float, settings: LinkSettings) -> Array:
    """Return how far from its prediction each track may be, (T,) px; `jump` is the shift, px."""
    base = settings.gate_new_run_px if state.new_run else settings.gate_px
    misses = np.array([t.misses for t in state.tracks], dtype=float)
    size = np.sqrt(np.array([t.area for t in state.tracks]))
    speed = np.hypot(*positions([t.velocity for t in state.tracks]).T)
    # masks of large particles wander in proportion to their size
    width = np.maximum(base, _WANDER * size) + settings.gate_growth_px * misses
    width += settings.gate_per_jump * jump + 0.5 * speed
    return cast("Array", np.minimum(width, settings.gate_max_px))


def within(frame: UnlinkedFrame, reach: Array) -> NDArray[np.bool_]:
    """Tell which detections may lie within reach (T,), px, of where tracks are expected, (T, N)."""
    expected = positions([e.yx for e in frame.expected])
    offset = positions([view.placed.yx for view in frame.views])[None] - expected[:, None]
    # a cut mask moves its centre by up to half of what is missing
    area = np.array([view.area for view in frame.views])
    size = np.sqrt(np.maximum(area, np.array([[t.area] for t in frame.tracks]).reshape(-1, 1)))
    slack = 0.5 * size * np.array([view.cut for view in frame.views], dtype=bool)
    return np.hypot(offset[..., 0], offset[..., 1]) <= reach[:, None] + slack


# Detections of several particles are divided, parts of one particle are joined.

_HITS = 3  # detections after which a mask is known; by eye
_COVERED = 0.6  # share of an expected mask on one detection; by eye
_FILLED = 0.8  # least area of a merged detection over that of the masks in it; by eye
_INSIDE = 0.7  # share of a detection within one expected mask; by eye
_WHOLE = (0.75, 1.3)  # area of all parts over that of the mask; by eye
_NEAR_MISSES = 3  # frames without a detection after which an expected mask says little; by eye


@dataclass(frozen=True, slots=True, kw_only=True)
class Regrouped:
    """Detections that each belong to one particle.

    Attributes
    ----------
    divided : rows that are shares of one detection. joined : rows made of several.
    inside : (N,) row of the track whose expected mask holds most of the detection, -1 for none.
    """

    detections: Detections
    divided: frozenset[int]
    joined: frozenset[int]
    inside: NDArray[np.int64]


def regroup(
    detections: Detections,
    tracks: tuple[Track, ...],
    expected: tuple[PlacedMask, ...],
    valid: Mask,
    settings: LinkSettings,
) -> Regrouped:
    """Divide and join detections by what is known of the particles.

    Parameters
    ----------
    detections : of the frame.
    tracks, expected : T tracks and their masks where they are expected.
    valid : (H, W) bool, pixels that can be seen.
    """
    recent = (TrackState.TRACKED, TrackState.COASTING)
    known = [
        i
        for i, t in enumerate(tracks)
        if t.state in recent and t.hits >= _HITS and t.misses <= _NEAR_MISSES
    ]
    if not known or len(detections) == 0:
        return Regrouped(
            detections=detections,
            divided=frozenset(),
            joined=frozenset(),
            inside=np.full(len(detections), -1),
        )
    masks = tuple(expected[i] for i in known)
    apart = np.array([tracks[i].apart for i in known])
    cover = _cover(detections, masks, valid)
    detections, joined = _join(detections, cover, apart < settings.apart_frames, valid)
    cover = _cover(detections, masks, valid) if joined else cover
    detections, divided = _divide(detections, masks, cover, valid)
    cover = _cover(detections, masks, valid) if divided else cover
    shares = cover.common / np.maximum(cover.pixels, 1)
    best, held = shares.argmax(axis=0), shares.max(axis=0) >= _INSIDE
    return Regrouped(
        detections=detections,
        divided=divided,
        joined=joined,
        inside=np.where(held, np.array(known)[best], -1),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cover:
    """Pixels that T masks and N detections have in `common` (T, N), and each by itself."""

    common: NDArray[np.int64]
    visible: NDArray[np.int64]
    pixels: NDArray[np.int64]


def _cover(detections: Detections, masks: tuple[PlacedMask, ...], valid: Mask) -> _Cover:
    labels, count = detections.labels, len(detections)
    at = [np.argwhere(m.mask) + m.corner for m in masks]
    owner = np.repeat(np.arange(len(masks)), [len(a) for a in at])
    yx = np.concatenate(at)
    inside = ((yx >= 0) & (yx < labels.shape)).all(axis=1)
    owner, yx = owner[inside], yx[inside]
    pairs = owner * (count + 1) + labels[yx[:, 0], yx[:, 1]]
    common = np.bincount(pairs, minlength=len(masks) * (count + 1))
    pixels = [
        np.count_nonzero(labels[y0:y1, x0:x1] == row)
        for row, (y0, x0, y1, x1) in enumerate(detections.bbox, 1)
    ]
    return _Cover(
        common=common.reshape(len(masks), count + 1)[:, 1:],
        visible=np.bincount(owner[valid[yx[:, 0], yx[:, 1]]], minlength=len(masks)),
        pixels=np.array(pixels),
    )


def _divide(
    detections: Detections, masks: tuple[PlacedMask, ...], cover: _Cover, valid: Mask
) -> tuple[Detections, frozenset[int]]:
    on = cover.common >= _COVERED * np.maximum(cover.visible, 1)[:, None]
    # a detection much smaller than what is expected in it is one of them, the others are hidden;
    # two tracks of one particle would expect it twice
    filled = cover.pixels >= _FILLED * (on * cover.visible[:, None]).sum(axis=0)
    divided: set[int] = set()
    for row in np.flatnonzero((on.sum(axis=0) >= 2) & filled):
        members = np.flatnonzero(on[:, row])
        seeds = [Seed(mask=masks[t].mask, corner=tuple(masks[t].corner)) for t in members]
        before = len(detections)
        detections = divide(detections, int(row), seeds, valid)
        if len(detections) > before:
            divided |= {int(row), *range(before, len(detections))}
    return detections, frozenset(divided)


def _join(
    detections: Detections, cover: _Cover, may: NDArray[np.bool_], valid: Mask
) -> tuple[Detections, frozenset[int]]:
    """Join the parts of one particle, unless they have been seen apart for long."""
    inside = cover.common >= _INSIDE * np.maximum(cover.pixels, 1)
    # what fits another particle as well is not a part
    inside &= inside.sum(axis=0) == 1
    area = (inside * cover.pixels).sum(axis=1)
    fits = (area >= _WHOLE[0] * cover.visible) & (area <= _WHOLE[1] * cover.visible)
    groups = [np.flatnonzero(inside[t]) for t in np.flatnonzero(fits & may)]
    groups = [rows for rows in groups if len(rows) >= 2]
    if not groups:
        return detections, frozenset()
    detections, rows = join(detections, groups, valid)
    return detections, frozenset(rows)
