"""Detections against expected masks: divide those of several particles, join parts of one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ....models.arrays import Mask
from ....models.detector import Detections
from ....models.divide import Seed, divide, join
from .look import PlacedMask, coverage
from .settings import LinkSettings
from .tracks import Track, TrackState

_HITS = 3  # detections after which a mask is known

_COVERED = 0.6  # share of an expected mask on one detection

_FILLED = 0.8  # least area of a merged detection over that of the masks in it

_INSIDE = 0.7  # share of a detection within one expected mask

_WHOLE = (0.75, 1.3)  # area of all parts over that of the mask

_NEAR_MISSES = 3


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
    known = [i for i, track in enumerate(tracks) if _is_known(track)]
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
    """Pixels that T masks and N detections have in `common` (T, N) and each by itself."""

    common: NDArray[np.int64]
    visible: NDArray[np.int64]
    pixels: NDArray[np.int64]


def _cover(detections: Detections, masks: tuple[PlacedMask, ...], valid: Mask) -> _Cover:
    common, visible = coverage(masks, detections.labels, len(detections), valid)
    pixels = [
        np.count_nonzero(detections.labels[y0:y1, x0:x1] == row)
        for row, (y0, x0, y1, x1) in enumerate(detections.bbox, 1)
    ]
    return _Cover(common=common, visible=visible, pixels=np.array(pixels))


def _is_known(track: Track) -> bool:
    recent = track.state in (TrackState.TRACKED, TrackState.COASTING)
    return recent and track.hits >= _HITS and track.misses <= _NEAR_MISSES


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
