"""Values of a coarse grid on a finer one."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch.nn.functional import interpolate

from .arrays import Image


def refined(value: Image, factor: int) -> Image:
    """Bilinear interpolation to cells a whole number of times as fine, (h * factor, w * factor).

    Cell 0 of both begins at the same place; beyond the rim the outermost value holds.
    """
    if factor == 1:
        return value
    coarse = torch.from_numpy(np.ascontiguousarray(value))[None, None]
    return interpolate(coarse, scale_factor=factor, mode="bilinear")[0, 0].numpy()


def part(value: Image, factor: int, rows: slice, columns: slice) -> Image:
    """What some rows and columns of `refined` are, without the rest."""
    down, high = _weights(value.shape[0], factor, rows)
    across, wide = _weights(value.shape[1], factor, columns)
    # Torch, as its threads are bounded by the processor; those of NumPy's products are not.
    return (down @ torch.from_numpy(value[high, wide]) @ across.T).numpy()


def _weights(size: int, factor: int, cells: slice) -> tuple[torch.Tensor, slice]:
    """Weights of coarse cells in some of the fine ones, and which coarse ones these are."""
    first = max(0, (cells.start - factor // 2) // factor)
    last = min(size, (cells.stop - 1 + factor - factor // 2) // factor + 1)
    return _all_weights(size, factor)[cells, first:last], slice(first, last)


@lru_cache(maxsize=64)
def _all_weights(size: int, factor: int) -> torch.Tensor:
    place = ((np.arange(size * factor) + 0.5) / factor - 0.5).clip(0, size - 1)
    out = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(size)))
    return torch.from_numpy(out.astype(np.float32))
