"""Masks and thumbnails of detections, and how well they agree with those of a track."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...models.detections import Detections

THUMBNAIL = 24


def crop_mask(detections: Detections, index: int) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Cut one mask out of the label image.

    Returns
    -------
    mask : (h, w) bool.
    mask_yx : (2,) float64, centre of mass in the pixel coordinates of the crop.
    """
    y0, x0, y1, x1 = (int(v) for v in detections.bbox[index])
    mask = detections.labels[y0:y1, x0:x1] == index + 1
    return mask, detections.yx[index] - (y0, x0)


def overlap(
    mask: NDArray[np.bool_],
    mask_yx: NDArray[np.float64],
    other: NDArray[np.bool_],
    other_yx: NDArray[np.float64],
) -> float:
    """Intersection over union of two masks laid centre of mass on centre of mass (whole pixels)."""
    offset = np.round(mask_yx - other_yx).astype(int)
    low = np.maximum(0, offset)
    high = np.minimum(mask.shape, offset + other.shape)
    if (high <= low).any():
        return 0.0
    first = mask[low[0] : high[0], low[1] : high[1]]
    second = other[
        low[0] - offset[0] : high[0] - offset[0], low[1] - offset[1] : high[1] - offset[1]
    ]
    common = np.count_nonzero(first & second)
    union = np.count_nonzero(mask) + np.count_nonzero(other) - common
    return common / max(union, 1)


def thumbnails(od: NDArray[np.float32], detections: Detections) -> NDArray[np.float32]:
    """Standardised (zero mean, unit variance) small views of the square window of each detection.

    Standardising takes gain and offset out, so that an absorption edge does not make a particle
    look different from itself.

    Returns
    -------
    (N, T, T) float32 with T = 24.
    """
    count = len(detections)
    if count == 0:
        return np.zeros((0, THUMBNAIL, THUMBNAIL), np.float32)
    height, width = od.shape
    box = detections.bbox.astype(np.float64)
    side = 1.3 * np.maximum(box[:, 2] - box[:, 0], box[:, 3] - box[:, 1])
    steps = (np.arange(THUMBNAIL) + 0.5) / THUMBNAIL - 0.5
    y = detections.yx[:, :1] + side[:, None] * steps  # (N, T)
    x = detections.yx[:, 1:] + side[:, None] * steps
    rows = np.clip(np.round(y), 0, height - 1).astype(int)
    columns = np.clip(np.round(x), 0, width - 1).astype(int)
    # every thumbnail pixel averages a 3 x 3 of samples spread over its footprint, against noise
    reach = np.maximum(side / THUMBNAIL / 3, 1).astype(int)[:, None]
    total = np.zeros((count, THUMBNAIL, THUMBNAIL), np.float32)
    for dy in (-1, 0, 1):
        r = np.clip(rows + dy * reach, 0, height - 1)
        for dx in (-1, 0, 1):
            c = np.clip(columns + dx * reach, 0, width - 1)
            total += od[r[:, :, None], c[:, None, :]]
    total -= total.mean(axis=(1, 2), keepdims=True)
    spread = total.std(axis=(1, 2), keepdims=True)
    return total / np.maximum(spread, 1e-6)


def similarity(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Structural term of SSIM of two standardised thumbnails over the whole view, -1..1."""
    return float((first * second).mean())
