"""Touching particles divided by expected masks, parts of one joined."""

from __future__ import annotations

import numpy as np
import pytest

from operando.models.detector import Detections
from operando.models.divide import Seed, divide, join

SHAPE = (80, 100)
VALID = np.ones(SHAPE, bool)


def disc(yx, radius):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return (y - yx[0]) ** 2 + (x - yx[1]) ** 2 <= radius**2


def detections(*masks):
    labels = np.zeros(SHAPE, np.int32)
    for name, mask in enumerate(masks, 1):
        labels[mask] = name
    places = [np.nonzero(labels == n) for n in range(1, len(masks) + 1)]
    n = len(masks)
    return Detections(
        labels=labels,
        yx=np.array([[y.mean(), x.mean()] for y, x in places]),
        area=np.array([1.01 * len(y) for y, _ in places]),
        moments=np.array([[y.var(), x.var(), np.mean((y - y.mean()) * x)] for y, x in places]),
        bbox=np.array([[y.min(), x.min(), y.max() + 1, x.max() + 1] for y, x in places]),
        contrast=np.linspace(1.0, 2.0, n),
        score=np.linspace(0.5, 0.9, n),
        cut=np.zeros(n, bool),
    )


def seed(yx, radius):
    mask = disc(yx, radius)
    return Seed(mask=mask[5:75, 5:95], corner=(5, 5))


def test_a_merged_detection_is_shared_by_the_expected_masks():
    first, second, other = disc((40, 30), 15), disc((40, 56), 13), disc((15, 85), 8)
    merged = detections(first | second, other)
    out = divide(merged, 0, [seed((41, 30), 15), seed((41, 56), 13)], VALID)
    assert len(out) == 3
    for row, mask in ((0, first), (2, second), (1, other)):
        found = out.labels == row + 1
        assert (found & mask).sum() / (found | mask).sum() > 0.97
        np.testing.assert_allclose(out.yx[row], np.argwhere(found).mean(axis=0))
        y0, x0, y1, x1 = out.bbox[row]
        assert found[y0:y1, x0:x1].sum() == found.sum()
    assert out.area[0] + out.area[2] == pytest.approx(merged.area[0])
    assert out.moments[2, 0] == pytest.approx(13**2 / 4, rel=0.1)
    assert out.contrast[2] == merged.contrast[0]


def test_division_leaves_its_input_alone_and_needs_no_seed_inside_the_frame():
    merged = detections(disc((40, 5), 20))
    before = merged.labels.copy()
    far = Seed(mask=np.ones((10, 10), bool), corner=(-40, -40))
    out = divide(merged, 0, [seed((40, 10), 15), far], VALID)
    np.testing.assert_array_equal(merged.labels, before)
    assert len(out) == 1


def test_a_part_at_the_rim_of_the_valid_area_is_cut():
    valid = VALID.copy()
    valid[:, :17] = False
    out = divide(
        detections(disc((40, 32), 15) | disc((40, 58), 13)),
        0,
        [seed((40, 32), 15), seed((40, 58), 13)],
        valid,
    )
    assert list(out.cut) == [True, False]


def test_parts_of_one_particle_become_one_detection():
    whole = disc((40, 50), 16)
    upper, lower = whole.copy(), whole.copy()
    upper[40:], lower[:41] = False, False
    split = detections(disc((15, 15), 9), upper, disc((65, 85), 8), lower)
    out, made = join(split, [np.array([1, 3])], VALID)
    assert made == (1,)
    assert len(out) == 3
    np.testing.assert_array_equal(out.labels == 2, upper | lower)
    np.testing.assert_array_equal(out.labels == 3, split.labels == 3)
    assert out.area[1] == pytest.approx(split.area[1] + split.area[3])
    np.testing.assert_allclose(out.yx[1], (40, 50), atol=0.1)
    assert list(out.bbox[1]) == [24, 35, 57, 66]
    assert out.score[1] == split.score[[1, 3]].max()


def test_two_particles_are_joined_at_once():
    masks = [disc((20, 20), 8), disc((20, 32), 6), disc((60, 60), 9), disc((60, 74), 6)]
    out, made = join(detections(*masks), [np.array([0, 1]), np.array([2, 3])], VALID)
    assert made == (0, 1)
    assert len(out) == 2
    np.testing.assert_array_equal(out.labels == 1, masks[0] | masks[1])
    np.testing.assert_array_equal(out.labels == 2, masks[2] | masks[3])
