"""Scores on known masks."""

from __future__ import annotations

import math

import pytest
import torch

from operando.streamer.lab.training.sets import IGNORED, frame_scores, roi_scores

Box = tuple[int, int, int, int]


def boxes(*each: list[Box], side: int = 64, value: int = 1) -> torch.Tensor:
    """(N, 1, S, S) uint8 with rectangles (top, left, height, width)."""
    mask = torch.zeros(len(each), 1, side, side, dtype=torch.uint8)
    for n, some in enumerate(each):
        for y, x, h, w in some:
            mask[n, 0, y : y + h, x : x + w] = value
    return mask


# --- ROIs


def test_the_truth_is_perfect():
    mask = boxes([(20, 20, 20, 20)], [])
    found = roi_scores(mask.float(), mask)
    assert found == {"quality": 1, "iou": 1, "hit": 1, "false": 0, "centre": 0}


def test_overlap_and_place_of_a_shifted_contour():
    truth, found = boxes([(20, 20, 20, 20)]), boxes([(20, 30, 20, 20)])
    score = roi_scores(found.float(), truth)
    assert score["iou"] == pytest.approx(1 / 3)
    assert score["hit"] == 0
    assert score["centre"] == pytest.approx(10)


def test_something_found_in_an_empty_roi_is_false():
    truth, found = boxes([(20, 20, 20, 20)], [], []), boxes([(20, 20, 20, 20)], [(0, 0, 9, 9)], [])
    score = roi_scores(found.float(), truth)
    assert score["false"] == pytest.approx(1 / 2)
    assert score["quality"] == pytest.approx(2 / 3)


def test_nothing_found_has_no_place():
    score = roi_scores(torch.zeros(1, 1, 64, 64), boxes([(20, 20, 20, 20)]))
    assert score["iou"] == score["quality"] == 0
    assert math.isnan(score["centre"])


# --- frames


def score_of(found: torch.Tensor, truth: torch.Tensor) -> dict[str, float]:
    return frame_scores(found.float(), truth)


def test_all_particles_found():
    truth = boxes([(2, 2, 10, 10), (30, 30, 8, 20)], [(50, 5, 9, 9)])
    found = score_of(truth, truth)
    assert found == {"f1": 1, "precision": 1, "recall": 1, "iou": 1, "centre": 0}


def test_missed_and_invented_particles():
    truth = boxes([(2, 2, 10, 10), (30, 30, 10, 10)])
    found = boxes([(2, 2, 10, 10), (30, 2, 10, 10), (50, 50, 10, 10)])
    score = score_of(found, truth)
    assert score["precision"] == pytest.approx(1 / 3)
    assert score["recall"] == pytest.approx(1 / 2)
    assert score["f1"] == pytest.approx(2 / 5)


def test_two_that_are_found_as_one_are_missed():
    truth = boxes([(10, 10, 20, 10), (10, 21, 20, 10)])
    assert score_of(boxes([(10, 10, 20, 21)]), truth)["f1"] == 0


def test_an_overlap_of_one_half_is_not_enough():
    truth = boxes([(10, 10, 10, 20)])
    assert score_of(boxes([(10, 10, 10, 10)]), truth)["recall"] == 0
    assert score_of(boxes([(10, 10, 10, 11)]), truth)["recall"] == 1


def test_specks_do_not_count():
    truth = boxes([(10, 10, 10, 10), (40, 40, 2, 2)])
    found = boxes([(10, 10, 10, 10), (60, 60, 2, 3)])
    assert score_of(found, truth)["f1"] == 1


def test_what_nobody_could_see_may_be_found_or_not():
    truth = boxes([(10, 10, 10, 10)]) + boxes([(40, 40, 12, 12)], value=IGNORED)
    seen, unseen = boxes([(10, 10, 10, 10), (40, 40, 12, 12)]), boxes([(10, 10, 10, 10)])
    assert score_of(seen, truth)["f1"] == score_of(unseen, truth)["f1"] == 1


def test_nothing_found():
    score = score_of(boxes([]), boxes([(10, 10, 10, 10)]))
    assert score["f1"] == score["iou"] == 0
    assert math.isnan(score["centre"])
