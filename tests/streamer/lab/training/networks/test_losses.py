"""Losses on known masks."""

from __future__ import annotations

import math

import pytest
import torch

from operando.streamer.lab.training.paired import clean_loss, held_out_loss, mask_loss
from operando.streamer.lab.training.sets import IGNORED, target_and_weight

TARGET = torch.zeros(2, 1, 8, 8)
TARGET[:, :, 2:6, 2:6] = 1
ALL = torch.ones(2, 1, 1, 1)


def test_the_truth_costs_nothing():
    sure = (2 * TARGET - 1) * 30
    assert float(mask_loss(sure, TARGET, ALL)) == pytest.approx(0, abs=1e-5)


def test_the_opposite_costs_most():
    sure = (2 * TARGET - 1) * 30
    losses = [float(mask_loss(a * sure, TARGET, ALL)) for a in (-1, 0, 0.05, 1)]
    assert losses == sorted(losses, reverse=True)


def test_nothing_said_of_one_cell_in_four():
    # cross entropy log 2; overlap (2 * 8 + 1) / (64 / 4 + 16 + 1) with 16 cells of 64 inside
    expected = math.log(2) + 1 - 17 / 33
    assert float(mask_loss(torch.zeros_like(TARGET), TARGET, ALL)) == pytest.approx(expected)


def test_empty_masks_are_fine():
    empty = torch.zeros_like(TARGET)
    assert float(mask_loss(torch.full_like(empty, -30), empty, ALL)) == pytest.approx(0, abs=1e-5)
    assert torch.isfinite(mask_loss(empty, empty, 0 * ALL))


def test_what_is_ignored_does_not_count():
    mask = TARGET.to(torch.uint8)
    mask[:, :, 6:] = IGNORED
    target, weight = target_and_weight(mask)
    assert set(target.unique().tolist()) == {0.0, 1.0}
    logits = torch.randn(2, 1, 8, 8)
    other = logits.clone()
    other[:, :, 6:] = 100 * torch.randn(2, 1, 2, 8)
    assert torch.equal(mask_loss(logits, target, weight), mask_loss(other, target, weight))
    assert not torch.equal(mask_loss(logits, target, ALL), mask_loss(other, target, ALL))


def test_images_of_no_weight_do_not_count():
    weight = torch.tensor([1.0, 0.0]).reshape(2, 1, 1, 1)
    made = torch.rand(2, 1, 8, 8)
    expected = float((made - TARGET)[0].abs().mean())
    assert float(clean_loss(made, TARGET, weight)) == pytest.approx(expected)


def test_the_loss_of_probabilities_is_that_of_their_logits():
    logits = 3 * torch.randn(2, 1, 8, 8)
    expected = float(mask_loss(logits, TARGET, ALL))
    assert held_out_loss(logits.sigmoid(), TARGET, ALL) == pytest.approx(expected, rel=1e-4)
    assert math.isfinite(held_out_loss(TARGET, 1 - TARGET, ALL))
