"""Devices of tensors, and the number of threads that work on them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module

import torch
from threadpoolctl import ThreadpoolController


@contextmanager
def bounded_threads(count: int) -> Iterator[None]:
    """Let torch and numpy use `count` threads within this block, and as many as before after it.

    On small images its threads mostly wait for each other; where other processes want the same
    cores that makes them ten times slower, not faster.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with _blas().limit(limits=count):
            yield
    finally:
        torch.set_num_threads(before)


@cache
def _blas() -> ThreadpoolController:
    """Find what numpy and scipy multiply matrices with; to look for it takes a millisecond."""
    import_module("scipy.linalg")  # else its library may be loaded after the look
    return ThreadpoolController().select(user_api="blas")


def resolve_device(name: str) -> torch.device:
    """Turn the name of a device into the device.

    Parameters
    ----------
    name : ``auto`` (CUDA if there is one, else the CPU), ``cpu``, ``cuda`` or ``cuda:<index>``.

    Raises
    ------
    ValueError
        If the name is unknown or this machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(
            f"device: wanted 'auto', 'cpu', 'cuda' or 'cuda:<index>', got {name!r}"
        ) from error
    if device.type == "cpu":
        return device
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type != "cuda" or (device.index or 0) >= count:
        raise ValueError(
            f"device: {name!r} is not on this machine ({count} CUDA devices); use 'auto' or 'cpu'"
        )
    return device
