"""Keeps what each particle looks like up to date."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from ....models.arrays import Array, Image, Mask
from ....models.detector import Detections
from ..frames import OpticalDensityFrame
from ..register.fuse import crop_rois, prepare
from ..register.templates import (
    Template,
    TemplateSet,
    add,
    background_response,
    begin,
    learn,
    window_side,
)
from .places import MeasuredPlace, Places

_AROUND = 3

_GOOD_PX = 0.5


def remember(
    memories: Mapping[int, TemplateSet],
    places: Places,
    pictures: Mapping[int, tuple[Array, Image]],
    corrected: OpticalDensityFrame,
    detections: Detections,
) -> dict[int, TemplateSet]:
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
        contrast = place.contrast if known is not None else 1.0
        side = known.side(contrast) if known is not None else None
        if known is not None and side == 0:
            after[item.particle] = replace(known, contrast=contrast)
            continue
        yx, roi = pictures[item.particle]
        view = _view(corrected, yx, roi, side or window_side(detections.bbox[place.row], yx))
        own, others = _labels(detections.labels, yx, len(view), place.row + 1)
        seen = np.where(others, np.float32(np.nan), view).astype(np.float32)
        if known is not None and side is not None:
            after[item.particle] = learn(known, seen, contrast)
            continue
        if free is None:
            free = _free(corrected, detections)
        anchor = _with_response(begin(seen, own, contrast), corrected.od, free)
        after[item.particle] = add(known, anchor)
    return after


def _free(corrected: OpticalDensityFrame, detections: Detections) -> Mask:
    taken = binary_dilation(detections.labels > 0, iterations=_AROUND)
    return np.logical_and(corrected.valid, np.logical_not(taken))


def _view(corrected: OpticalDensityFrame, yx: Array, roi: Image, side: int) -> Image:
    """The particle in a window of its own size, (S, S); the published ROI may cut it."""
    spare = len(roi) - side
    if spare >= 0 and spare % 2 == 0:
        inner = slice(spare // 2, spare // 2 + side)
        return roi[inner, inner]
    image = prepare(corrected.od, corrected.valid, torch.device("cpu"))
    return crop_rois(image, yx[None], side)[0, 0].numpy()


def _teaches(place: MeasuredPlace, known: TemplateSet | None, sigma: Array) -> bool:
    """Whether a frame says what a particle looks like: seen, and at a place that is known."""
    if place.row < 0:
        return False
    if known is None:
        return True
    return np.isfinite(place.contrast) and place.contrast > 0 and bool((sigma < _GOOD_PX).all())


def _with_response(anchor: Template, od: Image, free: Mask) -> Template:
    if anchor.rim is None:
        return anchor
    return replace(anchor, response=background_response(anchor.rim, od, free))


def _labels(labels: NDArray[np.int32], yx: Array, side: int, label: int) -> tuple[Mask, Mask]:
    """Own mask and that of others, widened, in the window of an ROI, (S, S) bool."""
    corner = np.rint(yx - (side - 1) / 2).astype(int)
    low, high = np.maximum(corner, 0), np.minimum(corner + side, labels.shape)
    window = np.zeros((side, side), labels.dtype)
    if (low < high).all():
        to = (slice(*at) for at in zip(low - corner, high - corner, strict=True))
        window[tuple(to)] = labels[low[0] : high[0], low[1] : high[1]]
    others = (window != 0) & (window != label)
    if others.any():
        others = _widened(others)
    return window == label, others


def _widened(mask: Mask) -> Mask:
    return np.asarray(binary_dilation(mask, iterations=_AROUND), dtype=bool)
