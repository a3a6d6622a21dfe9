"""Masks at full resolution."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from operando.models.detector import Detections
from operando.models.networks.confirm import rims
from operando.models.networks.contours import Contours
from operando.models.networks.paint import paint

SHAPE = (240, 260)


def draw(contours: Contours) -> Detections:
    found = rims(contours, np.zeros(contours.share.shape, bool))
    return paint(contours, found, np.ones(len(contours)), SHAPE, "why")


def disc(y: float, x: float, diameter: float) -> np.ndarray:
    rows, columns = np.indices(SHAPE)
    return np.hypot(rows - y, columns - x) < diameter / 2


@pytest.mark.parametrize("diameter", [15.0, 40.3, 150.0])
def test_a_mask_is_the_disc(traced: Callable, diameter: float) -> None:
    place = (120.3, 130.7, diameter)
    found = draw(traced(disc(*place).astype(np.float32), [place]))
    wanted = disc(*place)
    both = ((found.labels == 1) & wanted).sum() / ((found.labels == 1) | wanted).sum()
    assert both > 1 - 1.6 / diameter, "the rim is right to half a pixel"
    assert (found.labels > 0).sum() == pytest.approx(found.area[0], rel=2 / diameter)
    rows, columns = np.nonzero(found.labels)
    bounds = (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
    assert tuple(found.bbox[0]) == bounds
    assert found.contrast[0] == pytest.approx(1.0, abs=0.15)
    assert not found.cut[0]
    assert found.doubt == "why"


def test_touching_particles_share_no_pixel(traced: Callable) -> None:
    pair = [(120.0, 100.0, 70.0), (120.0, 150.0, 40.0)]
    found = draw(traced(np.zeros(SHAPE, np.float32), pair))
    apart = draw(traced(np.zeros(SHAPE, np.float32), pair[:1]))
    np.testing.assert_array_equal(found.area[0], apart.area[0])
    common = disc(*pair[0]) & disc(*pair[1])
    assert common.sum() > 50
    sizes = [(found.labels == n).sum() for n in (1, 2)]
    union = (disc(*pair[0]) | disc(*pair[1])).sum()
    assert sum(sizes) == pytest.approx(union, rel=0.02)
    assert min(sizes[0] / apart.area[0], sizes[1] / found.area[1]) > 0.8


def test_what_others_leave_no_pixel_of_is_no_detection(traced: Callable) -> None:
    place, other = (120.0, 100.0, 40.0), (60.0, 180.0, 30.0)
    found = draw(traced(np.zeros(SHAPE, np.float32), [place, place, other]))
    assert len(found) == 2
    assert np.unique(found.labels).tolist() == [0, 1, 2]
    assert found.labels[60, 180] == 2
    np.testing.assert_allclose(found.yx, [place[:2], other[:2]], atol=0.1)


def test_cut_by_the_frame_or_by_what_is_invalid(traced: Callable) -> None:
    valid = np.indices(SHAPE)[1] < 200
    places = [(10.0, 60.0, 40.0), (120.0, 195.0, 40.0), (180.0, 80.0, 40.0), (225.0, 170.0, 50.0)]
    image = np.zeros(SHAPE, np.float32)
    found = draw(traced(image, places, valid))
    assert found.cut.tolist() == [True, True, False, True]
    assert not found.labels[:, 201:].any()


def test_nothing_is_nothing(traced: Callable) -> None:
    one = traced(np.zeros(SHAPE, np.float32), [(100.0, 100.0, 30.0)])
    found = draw(one.pick(np.zeros(1, bool)))
    assert len(found) == 0
    assert found.bbox.shape == (0, 4)
    assert not found.labels.any()
