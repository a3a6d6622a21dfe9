"""Detections of discs, made without any detector."""

from __future__ import annotations

import numpy as np
import pytest

from operando.models.detector import Detections

SHAPE = (300, 300)


def _see(centres, radii, *, contrast=1.0, score=1.0, shape=SHAPE, cut=None):
    """Detections and optical density of discs; identity is told by the radius."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    labels = np.zeros(shape, np.int32)
    od = np.zeros(shape, np.float32)
    for i, ((cy, cx), r) in enumerate(zip(centres, radii, strict=True)):
        inside = (y - cy) ** 2 + (x - cx) ** 2 <= r**2
        labels[inside] = i + 1
        od[inside] = contrast
    rows = [np.nonzero(labels == i + 1) for i in range(len(radii))]
    moments = [[yy.var(), xx.var(), np.cov(yy, xx)[0, 1]] for yy, xx in rows]
    bbox = [[yy.min(), xx.min(), yy.max() + 1, xx.max() + 1] for yy, xx in rows]
    n = len(radii)
    return Detections(
        labels=labels,
        yx=np.array([[yy.mean(), xx.mean()] for yy, xx in rows]).reshape(n, 2),
        area=np.array([len(yy) for yy, _ in rows], dtype=float),
        moments=np.array(moments, dtype=float).reshape(n, 3),
        bbox=np.array(bbox, dtype=np.int64).reshape(n, 4),
        contrast=np.full(n, contrast, dtype=float),
        score=np.full(n, score, dtype=float),
        cut=np.zeros(n, bool) if cut is None else np.array(cut),
    ), od


@pytest.fixture(scope="session")
def see():
    """Make the detections and the optical density of discs."""
    return _see
