"""Contours that lie over each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from operando.models.networks.paint import find_pairs, others, without_duplicates

IMAGE = np.zeros((300, 300), np.float32)
MOST = 0.5


def test_share_of_the_smaller_is_that_of_the_discs(traced: Callable) -> None:
    # two unit discs at distance 1 share 2 pi / 3 - sqrt(3) / 2 of pi
    pairs = find_pairs(traced(IMAGE, [(100.0, 100.0, 60.0), (100.0, 130.0, 60.0)]))
    expected = (2 * np.pi / 3 - np.sqrt(3) / 2) / np.pi
    np.testing.assert_allclose(pairs.inside, expected, atol=0.02)
    assert sorted(zip(pairs.one.tolist(), pairs.other.tolist(), strict=True)) == [(0, 1), (1, 0)]


def test_a_part_of_a_much_larger_one_is_inside_it(traced: Callable) -> None:
    pairs = find_pairs(traced(IMAGE, [(150.0, 150.0, 160.0), (180.0, 150.0, 30.0)]))
    np.testing.assert_allclose(pairs.inside, 1.0, atol=0.02)


@pytest.mark.parametrize("score", [(0.9, 0.8, 0.7), (0.7, 0.8, 0.9), (0.8, 0.9, 0.7)])
def test_the_better_of_two_is_kept(traced: Callable, score: tuple[float, ...]) -> None:
    same = [(100.0, 100.0, 50.0), (103.0, 98.0, 56.0), (200.0, 200.0, 40.0)]
    keep = without_duplicates(find_pairs(traced(IMAGE, same)), np.array(score), MOST)
    assert keep.tolist() == [score[0] > score[1], score[1] > score[0], True]


def test_halves_and_the_whole_are_not_both_kept(traced: Callable) -> None:
    three = [(100.0, 100.0, 80.0), (100.0, 80.0, 36.0), (100.0, 120.0, 36.0)]
    pairs = find_pairs(traced(IMAGE, three))
    assert without_duplicates(pairs, np.array([0.9, 0.8, 0.8]), MOST).tolist() == [1, 0, 0]
    assert without_duplicates(pairs, np.array([0.5, 0.8, 0.6]), MOST).tolist() == [0, 1, 1]


def test_what_is_dropped_suppresses_nothing(traced: Callable) -> None:
    chain = [(100.0, 100.0, 50.0), (100.0, 112.0, 50.0), (100.0, 136.0, 50.0)]
    pairs = find_pairs(traced(IMAGE, chain))
    assert without_duplicates(pairs, np.array([0.9, 0.8, 0.7]), MOST).tolist() == [1, 0, 1]
    assert without_duplicates(pairs, np.array([0.0, 0.8, 0.7]), MOST).tolist() == [0, 1, 1]


def test_touching_ones_are_neighbours_and_both_kept(traced: Callable) -> None:
    contours = traced(IMAGE, [(100.0, 100.0, 60.0), (100.0, 150.0, 42.0), (220.0, 220.0, 30.0)])
    pairs = find_pairs(contours)
    assert set(pairs.one.tolist()) == {0, 1}
    assert without_duplicates(pairs, np.array([0.9, 0.8, 0.7]), MOST).all()
    beside = others(contours, pairs)
    assert beside[0, 32, -8:].max() == 1.0, "the neighbour is where it should be"
    assert beside[0, :, :20].max() == 0.0
    assert not beside[2].any()


def test_frames_do_not_see_each_other(traced: Callable) -> None:
    contours = traced(IMAGE, [(100.0, 100.0, 50.0), (100.0, 100.0, 50.0)])
    apart = replace(contours, owner=np.array([0, 1]))
    assert len(find_pairs(apart).one) == 0
    assert len(find_pairs(contours.pick(np.zeros(2, bool))).one) == 0
