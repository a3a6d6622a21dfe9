"""The rim of a particle's mask, as distances from its place in fixed directions."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ....models.arrays import Array
from ....models.detector import Detections

DIRECTIONS = 48

UNKNOWN = np.full(DIRECTIONS, np.nan, np.float32)
"""Outline of a particle that was not detected."""


def outlines(detections: Detections, rows: NDArray[np.int64], places: Array) -> NDArray[np.float32]:
    """How far masks reach in each of `DIRECTIONS` directions, sampled pixel by pixel.

    Direction ``k`` is that of ``(sin a, cos a)`` in (y, x), with ``a = 2 pi k / DIRECTIONS``. Of a
    mask that a direction leaves and enters again, the farthest rim counts.

    Parameters
    ----------
    rows : (P,) int64, which detections. places : (P, 2) float64, (y, x) of the particles, px.

    Returns
    -------
    (P, DIRECTIONS) float32, px; 0 in a direction in which there is nothing of the mask.
    """
    if not len(rows):
        return np.zeros((0, DIRECTIONS), np.float32)
    distance, direction = _rays(_reach(detections.bbox[rows], places))
    points = places[:, None, None, :] + distance[:, None, None] * direction
    y, x = np.rint(points).astype(np.intp).transpose(3, 0, 1, 2)
    height, width = detections.labels.shape
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    found = detections.labels[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)]
    on = inside & (found == (rows + 1)[:, None, None])
    # the rim lies half a pixel beyond the last sample that is on the mask
    return np.where(on, distance[:, None] + 0.5, 0.0).max(axis=1).astype(np.float32)


def _reach(bbox: NDArray[np.int64], places: Array) -> int:
    """How far any of the masks may be from its place, px; rounded up, so that few differ."""
    to_corner = np.maximum(np.abs(bbox[:, :2] - places), np.abs(bbox[:, 2:] - places))
    return 8 * (int(np.hypot(*to_corner.T).max()) // 8 + 1)


@lru_cache(maxsize=32)
def _rays(reach: int) -> tuple[Array, Array]:
    """Distances (reach,), px, and directions (DIRECTIONS, 2)."""
    angle = 2 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    return np.arange(float(reach)), np.stack([np.sin(angle), np.cos(angle)], axis=-1)
