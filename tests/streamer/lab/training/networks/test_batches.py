"""Random batches."""

from __future__ import annotations

import pytest
import torch

from operando.streamer.lab.training.sets import Batches

CPU = torch.device("cpu")


def numbered(count: int) -> torch.Tensor:
    """Images (N, 1, 4, 4), of which each cell tells its image and its place."""
    cell = torch.arange(16.0).reshape(1, 1, 4, 4)
    return torch.arange(count).reshape(-1, 1, 1, 1) * 100 + cell


def numbers(images: torch.Tensor) -> list[int]:
    return (images.amin((1, 2, 3)) / 100).int().tolist()


def test_every_image_comes_once_before_any_comes_again():
    batches = Batches((numbered(7),), 3, 0, CPU)
    seen = [n for _ in range(7) for n in numbers(batches.next()[0])]
    for start in (0, 7, 14):
        assert sorted(seen[start : start + 7]) == list(range(7))
    assert seen[:7] != seen[7:14]


def test_batches_larger_than_the_set():
    assert len(Batches((numbered(3),), 8, 0, CPU).next()[0]) == 8


def test_all_arrays_are_turned_alike_and_rows_belong_together():
    images, weights = numbered(5), torch.arange(5.0).reshape(-1, 1, 1, 1)
    batches = Batches((images, images + 0.5, weights), 4, 0, CPU)
    for _ in range(10):
        one, other, weight = batches.next()
        assert torch.equal(other, one + 0.5)
        assert numbers(one) == weight.flatten().int().tolist()


def test_all_eight_ways_to_lay_a_square_occur():
    batches = Batches((numbered(1),), 1, 0, CPU)
    ways = {tuple(batches.next()[0].flatten().tolist()) for _ in range(100)}
    assert len(ways) == 8


def test_seeds_determine_the_order():
    def first(seed):
        batches = Batches((numbered(20),), 6, seed, CPU)
        return [batches.next()[0] for _ in range(4)]

    assert all(torch.equal(a, b) for a, b in zip(first(1), first(1), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first(1), first(2), strict=True))


def test_they_go_on_where_they_stood():
    batches, other = (Batches((numbered(7),), 3, seed, CPU) for seed in (0, 9))
    batches.next()
    other.restore(batches.state())
    for _ in range(5):
        assert torch.equal(batches.next()[0], other.next()[0])


def test_small_kinds_become_float32():
    assert Batches((numbered(2).half(),), 2, 0, CPU).next()[0].dtype == torch.float32


def test_an_empty_set_is_refused():
    with pytest.raises(ValueError, match="got no images; make a larger set"):
        Batches((numbered(0),), 2, 0, CPU)
