"""Keeps what each particle looks like up to date."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from ..models.detections import Detections
from .frames import Corrected
from .places import Place, Places
from .register.anchors import Anchor, Memory, add, begin, is_new, learn
from .register.response import background_response

Array = NDArray[np.float64]
Image = NDArray[np.float32]
Mask = NDArray[np.bool_]

_AROUND = 3
_GOOD_PX = 0.5


def remember(
    memories: Mapping[int, Memory],
    places: Places,
    pictures: Mapping[int, tuple[Array, Image]],
    corrected: Corrected,
    detections: Detections,
) -> dict[int, Memory]:
    """Take the ROIs of a frame into the templates.

    Parameters
    ----------
    pictures : place (2,) px and aligned ROI (S, S) float32 of each particle.
    """
    after = dict(memories)
    free: Mask | None = None
    for item in places.measured:
        place = places.found[item.particle]
        known = after.get(item.particle)
        if item.particle not in pictures or not _teaches(place, known, item.sigma):
            continue
        yx, roi = pictures[item.particle]
        own, others = _labels(detections.labels, yx, roi.shape[0], place.row + 1)
        seen = np.where(others, np.float32(np.nan), roi).astype(np.float32)
        contrast = place.contrast if known is not None else 1.0
        if known is not None and not is_new(known, contrast):
            after[item.particle] = learn(known, seen, contrast)
            continue
        if free is None:
            free = corrected.valid & ~_widened(detections.labels > 0)
        anchor = _with_response(begin(seen, own, contrast), corrected.od, free)
        after[item.particle] = add(known, anchor)
    return after


def _teaches(place: Place, known: Memory | None, sigma: Array) -> bool:
    """Whether a frame says what a particle looks like: seen, and at a place that is known."""
    if place.row < 0:
        return False
    if known is None:
        return True
    return np.isfinite(place.contrast) and place.contrast > 0 and bool((sigma < _GOOD_PX).all())


def _with_response(anchor: Anchor, od: Image, free: Mask) -> Anchor:
    if anchor.rim is None:
        return anchor
    return replace(anchor, response=background_response(anchor.rim, od, free))


def _labels(labels: NDArray[np.int32], yx: Array, side: int, label: int) -> tuple[Mask, Mask]:
    """Own mask and that of others, widened, in the window of an ROI, (S, S) bool."""
    corner = np.rint(yx - (side - 1) / 2).astype(int)
    rows = np.arange(corner[0], corner[0] + side)
    columns = np.arange(corner[1], corner[1] + side)
    inside = ((rows >= 0) & (rows < labels.shape[0]))[:, None] & (
        (columns >= 0) & (columns < labels.shape[1])
    )
    window = labels[
        np.clip(rows, 0, labels.shape[0] - 1)[:, None], np.clip(columns, 0, labels.shape[1] - 1)
    ]
    window = np.where(inside, window, 0)
    others = (window != 0) & (window != label)
    if others.any():
        others = _widened(others)
    return window == label, others


def _widened(mask: Mask) -> Mask:
    return np.asarray(binary_dilation(mask, iterations=_AROUND), dtype=bool)
