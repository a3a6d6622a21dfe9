from __future__ import annotations

import pytest
import torch

from operando.models.device import bounded_threads, resolve_device


def fail_within(count: int) -> None:
    with bounded_threads(count):
        raise RuntimeError(f"{torch.get_num_threads()} threads")


def test_threads_are_bounded_within_the_block_only():
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError, match=f"{before + 1} threads"):
        fail_within(before + 1)
    assert torch.get_num_threads() == before


def test_an_unknown_device_is_named():
    with pytest.raises(ValueError, match="toaster"):
        resolve_device("toaster")
