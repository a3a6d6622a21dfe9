from __future__ import annotations

import re

import pytest
import scipy.linalg  # noqa: F401 - loads its library
import torch
from threadpoolctl import threadpool_info

from operando.models.device import bounded_threads, resolve_device


def threads() -> list[int]:
    """Of torch and of all that numpy and scipy multiply matrices with."""
    ours = [
        item
        for item in threadpool_info()
        if item["user_api"] == "blas" and "opencv" not in item["filepath"]
    ]
    assert len(ours) >= 2, threadpool_info()
    return [torch.get_num_threads(), *(item["num_threads"] for item in ours)]


def fail_within(count: int) -> None:
    with bounded_threads(count):
        raise RuntimeError(f"threads {threads()}")


def test_threads_are_bounded_within_the_block_only():
    before = threads()
    count = max(before) + 1
    with pytest.raises(RuntimeError, match=re.escape(str([count] * len(before)))):
        fail_within(count)
    assert threads() == before


def test_an_unknown_device_is_named():
    with pytest.raises(ValueError, match="toaster"):
        resolve_device("toaster")
