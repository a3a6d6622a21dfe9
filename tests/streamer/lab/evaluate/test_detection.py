"""Matching of masks in small frames that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from operando.models.detector import Detections
from operando.streamer.lab.evaluate.detection import (
    best_threshold,
    judge,
    match_masks,
    score_detections,
)

SHAPE = (60, 80)


def labels_of(*boxes):
    """Label i + 1 in the box (y0, y1, x0, x1) number i."""
    labels = np.zeros(SHAPE, np.int32)
    for number, (y0, y1, x0, x1) in enumerate(boxes, 1):
        labels[y0:y1, x0:x1] = number
    return labels


def centres(labels, n):
    return np.array([np.argwhere(labels == i + 1).mean(axis=0) for i in range(n)]).reshape(n, 2)


def detected(*boxes, score=None):
    labels, n = labels_of(*boxes), len(boxes)
    return Detections(
        labels=labels,
        yx=centres(labels, n),
        area=np.bincount(labels.ravel(), minlength=n + 1)[1:].astype(float),
        moments=np.zeros((n, 3)),
        bbox=np.zeros((n, 4), np.int64),
        contrast=np.ones(n),
        score=np.ones(n) if score is None else np.array(score),
        cut=np.zeros(n, bool),
    )


A, B, C = (5, 25, 5, 25), (5, 25, 25, 45), (35, 55, 40, 70)
TRUTH = labels_of(A, B, C)


def judged(detections, required=(True, True, True), **options):
    return judge(detections, TRUTH, centres(TRUTH, 3), required, **options)


def counts(frames, threshold=0.0):
    found = score_detections(frames, threshold)
    return found.tp, found.fp, found.fn


def test_perfect_masks():
    found = score_detections([judged(detected(C, A, B))], 0.5)
    assert (found.tp, found.fp, found.fn) == (3, 0, 0)
    assert found.precision == found.recall == found.f1 == found.iou == 1
    assert found.position_median == found.position_rms == 0
    assert found.misses == found.made_up == {}


def test_pairs_do_not_depend_on_the_order():
    found = match_masks(labels_of(C, A, B), TRUTH)
    assert dict(zip(found.detection.tolist(), found.truth.tolist(), strict=True)) == {
        0: 2,
        1: 0,
        2: 1,
    }
    assert found.iou.tolist() == [1, 1, 1]


def test_two_merged_into_one_mask_are_one_found_at_most():
    both = (5, 25, 5, 45)
    # half of the mask each: IoU is just 0.5 with either
    assert counts([judged(detected(both, C))]) == (2, 0, 1)
    strict = judged(detected(both, C), iou=0.6)
    assert counts([strict]) == (1, 1, 2)
    assert score_detections([strict], 0).made_up == {"merged": 1}
    assert score_detections([strict], 0).misses == {"merged": 2}


def test_one_split_into_two_masks():
    parts = (5, 25, 5, 18), (5, 25, 18, 25)
    one = judged(detected(*parts, B, C))
    # the larger part has 13 of 20 columns
    assert counts([one]) == (3, 1, 0)
    assert one.iou.min() == pytest.approx(0.65)
    assert score_detections([one], 0).made_up == {"fragment": 1}
    thirds = [(5, 25, 5, 12), (5, 25, 12, 19), (5, 25, 19, 25)]
    assert counts([judged(detected(*thirds, B, C))]) == (2, 3, 1)


def test_what_is_nowhere_near_is_false_and_what_has_no_mask_unseen():
    one = judged(detected(A, C, (30, 34, 2, 12)))
    assert counts([one]) == (2, 1, 1)
    found = score_detections([one], 0)
    assert found.made_up == {"background": 1}
    assert found.misses == {"unseen": 1}
    assert found.f1 == pytest.approx(4 / 6)


def test_a_mask_much_too_large_is_both_false_and_a_miss():
    found = score_detections([judged(detected(A, B, (28, 60, 20, 80)))], 0)
    assert (found.tp, found.fp, found.fn) == (2, 1, 1)
    assert (found.made_up, found.misses) == ({"outline": 1}, {"outline": 1})


def test_what_is_not_asked_for_counts_neither_way():
    required = (True, True, False)
    for detections in (detected(A, B), detected(A, B, C)):
        assert counts([judged(detections, required)]) == (2, 0, 0)
    # parts of it, or of two such, are not counted either
    parts = detected(A, B, (35, 55, 40, 50), (35, 55, 50, 70))
    assert counts([judged(parts, required)]) == (2, 0, 0)
    # but one that lies beside it is
    beside = detected(A, B, (35, 55, 5, 41))
    assert counts([judged(beside, required)]) == (2, 1, 0)


def test_a_required_one_goes_before_what_is_not_asked_for():
    both = (5, 25, 5, 45)
    assert counts([judged(detected(both), (True, False, False))]) == (1, 0, 0)
    assert counts([judged(detected((5, 25, 18, 45)), (True, False, False))]) == (0, 0, 1)


def test_thresholds_of_the_score():
    extra = (30, 34, 2, 12)
    one = judged(detected(A, B, C, extra, score=[0.9, 0.8, 0.1, 0.3]))
    assert counts([one], 0.0) == (3, 1, 0)
    assert counts([one], 0.25) == (2, 1, 1)
    assert counts([one], 0.5) == (2, 0, 1)
    assert score_detections([one], 0.5).misses == {"doubted": 1}
    # F1 at 0.1: 6 / 7, at 0.8: 4 / 5
    assert best_threshold([one]) == 0.1
    assert best_threshold([judged(detected(A, B, C))]) == 1
    wrong = judged(detected(A, extra, score=[0.2, 0.9]))
    assert best_threshold([wrong, one, one]) in {0.1, 0.2}


def test_a_threshold_finds_what_a_detector_with_that_threshold_would_find():
    rng = np.random.default_rng(0)
    boxes = [(y, y + 9, x, x + 9) for y in range(0, 50, 10) for x in range(0, 70, 10)]
    score = rng.random(len(boxes))
    truth = np.roll(labels_of(*boxes[::2]), 2, axis=0)
    n = len(boxes[::2])

    def judge_some(keep):
        some = detected(*(b for b, k in zip(boxes, keep, strict=True) if k), score=score[keep])
        return judge(some, truth, centres(truth, n), np.ones(n, bool))

    every = judge_some(np.ones(len(boxes), bool))
    for threshold in (0.2, 0.5, 0.8):
        assert counts([every], threshold) == counts([judge_some(score >= threshold)])


def test_position_errors():
    moved = detected((6, 26, 5, 25), (5, 25, 25, 45), (35, 55, 42, 70))
    found = score_detections([judged(moved)], 0)
    # 1 px down, none, and two columns less: 1 px to the right
    assert found.position_median == pytest.approx(1)
    assert found.position_rms == pytest.approx(np.sqrt(2 / 3))
    assert found.iou == pytest.approx((19 / 21 + 1 + 28 / 30) / 3)


def test_frames_add_up():
    frames = [judged(detected(A, B)), judged(detected()), judged(detected(A, B, C))]
    assert [f.required for f in frames] == [3, 3, 3]
    found = score_detections(frames, 0)
    assert (found.tp, found.fp, found.fn) == (5, 0, 4)
    assert (found.precision, found.recall) == (1, pytest.approx(5 / 9))


def test_nothing_asked_for_and_nothing_found():
    for frames in ([], [judge(detected(), np.zeros(SHAPE, int), [], [])]):
        found = score_detections(frames, 0.5)
        assert (found.tp, found.fp, found.fn) == (0, 0, 0)
        assert np.isnan([found.f1, found.precision, found.recall, found.iou]).all()
        assert best_threshold(frames) == 0
    only_false = score_detections([judge(detected(A), np.zeros(SHAPE, int), [], [])], 0.5)
    assert (only_false.f1, only_false.precision) == (0, 0)


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match=r"0\.5\.\.1"):
        match_masks(TRUTH, TRUTH, iou=0.3)
    with pytest.raises(ValueError, match=r"labels are \(60, 80\), those of the truth \(60, 79\)"):
        match_masks(TRUTH, TRUTH[:, :-1])
