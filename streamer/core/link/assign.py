"""Which detection is which track: the Hungarian assignment, in three rounds.

First what is near its expected place among the sure detections, then what is left among the weak
ones (doi 10.48550/arXiv.2110.06864), then, further away, only what looks the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from scipy.optimize import linear_sum_assignment

from ....models.arrays import Array, Mask
from .look import (
    DetectionView,
    PlacedMask,
    UnlinkedFrame,
    overlap,
    place,
    similarity,
    visible_part,
    within,
)
from .settings import LinkSettings
from .tracks import Track, TrackState

_IMPOSSIBLE = 1e6

_SAME_AREA = 1.3

_SAME_MASK = 0.6

_SAME_VIEW = 0.5

_WEAK_MASK = 0.5

Cost = Callable[[int, int], float]


def assign(scene: UnlinkedFrame, settings: LinkSettings) -> dict[int, int]:
    """Find the detection of each track.

    Returns
    -------
    Row of the detection by row of the track; tracks without one are left out.
    """
    every = range(len(scene.looks))
    sure = [n for n in every if scene.looks[n].score >= settings.min_score]
    weak = [n for n in every if scene.looks[n].score < settings.min_score]
    near = partial(_near, scene, settings)
    found = _match(scene, scene.gates, _left(scene, {}), sure, near)
    found |= _match(scene, scene.gates, _left(scene, found), weak, partial(near, least=_WEAK_MASK))
    taken = set(found.values())
    free = [n for n in sure if n not in taken]
    wide = np.maximum(settings.wide_gate_px, scene.gates)
    alike = partial(_alike, scene, settings, wide)
    return found | _match(scene, wide, _left(scene, found), free, alike)


def _left(scene: UnlinkedFrame, found: dict[int, int]) -> list[int]:
    return [t for t in range(len(scene.tracks)) if t not in found]


def _match(
    scene: UnlinkedFrame, reach: Array, tracks: list[int], looks: list[int], cost: Cost
) -> dict[int, int]:
    """Assign detections to tracks that lie within reach (T,), px, of their expected places."""
    if not tracks or not looks:
        return {}
    close = within(scene, reach)[np.ix_(tracks, looks)]
    table = np.full(close.shape, _IMPOSSIBLE)
    for row, column in np.argwhere(close):
        table[row, column] = cost(tracks[row], looks[column])
    rows, columns = linear_sum_assignment(table)
    return {
        tracks[r]: looks[c] for r, c in zip(rows, columns, strict=True) if table[r, c] < _IMPOSSIBLE
    }


def _near(
    scene: UnlinkedFrame, settings: LinkSettings, t: int, n: int, *, least: float = 0.0
) -> float:
    """Cost of a detection near the expected place of a track."""
    track, expected, look = scene.tracks[t], scene.expected[t], scene.looks[n]
    fitted = place(track, expected, look, scene.valid)
    distance = float(np.hypot(*(fitted.yx - expected.yx))) / scene.gates[t]
    area, iou = _agreement(track, fitted, look, scene.valid)
    limit = settings.max_area_ratio ** (2 if look.cut or not track.whole else 1)
    if distance > 1 or abs(np.log(area)) > np.log(limit) or iou < least:
        return _IMPOSSIBLE
    if iou < 0.5 or distance > 0.7:
        # the views of a cut particle show different shares of it
        alike = look.cut or similarity(track.thumbnail, look.view) >= settings.min_ssim
        if not alike:
            return _IMPOSSIBLE
    tentative = 0.3 if track.state == TrackState.TENTATIVE else 0.0
    return distance**2 + 2.0 * (1.0 - iou) + (float(np.log(area)) / 0.3) ** 2 * 0.5 + tentative


def _alike(scene: UnlinkedFrame, settings: LinkSettings, reach: Array, t: int, n: int) -> float:
    """Cost of a detection further away, which must look the same."""
    track, expected, look = scene.tracks[t], scene.expected[t], scene.looks[n]
    fitted = place(track, expected, look, scene.valid)
    distance = float(np.hypot(*(fitted.yx - expected.yx)))
    area, iou = _agreement(track, fitted, look, scene.valid)
    if look.cut and _is_outside(expected, scene.valid):
        # it left, and shows a sliver of itself where it did
        same = look.area <= settings.max_area_ratio * track.area
    elif track.whole:
        same = abs(np.log(area)) <= np.log(_SAME_AREA) and iou >= _SAME_MASK
        same &= look.cut or similarity(track.thumbnail, look.view) >= _SAME_VIEW
    else:  # it enters, and shows more of itself than before; or it leaves again
        same = area >= 1 / settings.max_area_ratio
    if distance > reach[t] or not same:
        return _IMPOSSIBLE
    return distance / float(reach[t]) + 1.0 - iou


def _is_outside(expected: PlacedMask, valid: Mask) -> bool:
    """Whether most of an expected mask cannot be seen."""
    seen = np.count_nonzero(visible_part(expected, valid))
    return bool(2 * seen < np.count_nonzero(expected.mask))


def _agreement(
    track: Track, fitted: PlacedMask, look: DetectionView, valid: Mask
) -> tuple[float, float]:
    """Area of the detection over that of the track, and intersection over union of the masks."""
    area = look.area / max(track.area, 1.0)
    if look.cut and track.whole:
        part = visible_part(fitted, valid)
        area = look.area / max(float(np.count_nonzero(part)), 1.0)
        fitted = replace(fitted, mask=part)
    return area, overlap(fitted, look.placed)
