"""Outlines follow the rims of masks."""

from __future__ import annotations

import numpy as np
import pytest

from operando.models.detector import Detections
from operando.streamer.core.register.images import outlines
from operando.streamer.core.register.settings import DIRECTIONS

ANGLE = 2 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS


def detections(*masks: np.ndarray) -> Detections:
    """Masks as a detector gives them; only labels and boxes are looked at."""
    labels = np.zeros(masks[0].shape, np.int32)
    bbox = []
    for i, mask in enumerate(masks):
        labels[mask] = i + 1
        y, x = np.nonzero(mask)
        bbox.append((y.min(), x.min(), y.max() + 1, x.max() + 1))
    n = len(masks)
    return Detections(
        labels=labels,
        yx=np.zeros((n, 2)),
        area=np.array([m.sum() for m in masks], float),
        moments=np.zeros((n, 3)),
        bbox=np.array(bbox),
        contrast=np.ones(n),
        score=np.ones(n),
        cut=np.zeros(n, bool),
    )


def grid(height: int = 120, width: int = 160) -> tuple[np.ndarray, np.ndarray]:
    return np.mgrid[:height, :width].astype(float)


def test_a_disc_is_as_far_everywhere_and_an_ellipse_is_longer_along_x():
    y, x = grid()
    disc = np.hypot(y - 40.3, x - 50.7) < 20
    ellipse = np.hypot((y - 80) / 12, (x - 110) / 30) < 1
    found = outlines(
        detections(disc, ellipse), np.array([1, 0]), np.array([[80.0, 110.0], [40.3, 50.7]])
    )
    assert found.dtype == np.float32
    assert np.allclose(found[1], 20, atol=1.0)
    expected = 1 / np.hypot(np.sin(ANGLE) / 12, np.cos(ANGLE) / 30)
    assert np.allclose(found[0], expected, atol=1.2)


def test_a_neighbour_that_touches_is_another_mask():
    y, x = grid()
    left, right = np.hypot(y - 60, x - 60) < 20, np.hypot(y - 60, x - 100) < 21
    right &= ~left
    (rim,) = outlines(detections(left, right), np.array([0]), np.array([[60.0, 60.0]]))
    assert rim[0] == pytest.approx(20, abs=1)


def test_directions_that_leave_the_frame_end_at_its_rim():
    y, x = grid()
    (rim,) = outlines(
        detections(np.hypot(y - 4, x - 80) < 20), np.array([0]), np.array([[4.0, 80.0]])
    )
    assert rim[3 * DIRECTIONS // 4] == pytest.approx(4.5)  # upwards
    assert rim[DIRECTIONS // 4] == pytest.approx(20, abs=1)


def test_a_place_off_its_mask_sees_it_in_some_directions_only():
    y, x = grid()
    (rim,) = outlines(
        detections(np.hypot(y - 60, x - 80) < 10), np.array([0]), np.array([[60.0, 50.0]])
    )
    assert rim[0] == pytest.approx(40, abs=1)
    assert rim[DIRECTIONS // 2] == 0


def test_without_particles_there_is_nothing():
    empty = detections(np.ones((8, 8), bool))
    assert outlines(empty, np.zeros(0, np.int64), np.zeros((0, 2))).shape == (0, DIRECTIONS)
