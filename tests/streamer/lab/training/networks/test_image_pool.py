"""The history of translated images."""

from __future__ import annotations

import torch

from operando.streamer.lab.training.unpaired import ImagePool


def images(start: int, count: int = 4) -> torch.Tensor:
    return torch.arange(start, start + count, dtype=torch.float32).reshape(-1, 1, 1, 1)


def test_it_fills_with_what_it_sees():
    pool = ImagePool(6, torch.Generator().manual_seed(0))
    assert torch.equal(pool.exchange(images(0)), images(0))
    assert [int(i) for i in pool.images] == [0, 1, 2, 3]


def test_a_full_pool_hands_out_older_images_half_of_the_time():
    pool = ImagePool(10, torch.Generator().manual_seed(0))
    pool.exchange(images(0, 10))
    old = 0
    for start in range(10, 1010):
        old += int(pool.exchange(images(start, 1)).item() < start)
        assert len(pool.images) == 10
    assert 400 < old < 600


def test_no_image_is_kept_twice():
    pool = ImagePool(5, torch.Generator().manual_seed(1))
    for start in range(0, 200, 4):
        pool.exchange(images(start))
        assert len({int(i) for i in pool.images}) == len(pool.images)


def test_gradients_end_at_the_pool():
    pool = ImagePool(2, torch.Generator())
    assert not pool.exchange(images(0).requires_grad_()).requires_grad


def test_one_image_does_not_keep_its_batch_in_memory():
    """Nor in checkpoints: what shares memory is written with all of it."""
    pool = ImagePool(3, torch.Generator().manual_seed(0))
    for start in range(0, 80, 8):
        pool.exchange(images(start, 8))
        assert all(image.untyped_storage().nbytes() == image.nbytes for image in pool.images)
