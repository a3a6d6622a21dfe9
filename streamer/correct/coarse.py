"""Block means: the scale on which light is compared between frames."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCKS = 64


def coarsen(image: NDArray[Any], blocks: int = _BLOCKS) -> NDArray[np.float32]:
    """Average an image over about `blocks` x `blocks` equal blocks.

    Within a block at most 8 rows are read: the mean of a few hundred pixels is precise enough, and
    a 2048 x 2048 frame takes milliseconds instead of tens.

    Parameters
    ----------
    image : (H, W); a NaN makes its block NaN. The remainder at the far edges is not used.

    Returns
    -------
    (h, w) float32 with h, w <= 2 * `blocks`.
    """
    height, width = image.shape
    step_y, step_x = max(1, height // blocks), max(1, width // blocks)
    rows, cols = height // step_y, width // step_x
    view = image[: rows * step_y, : cols * step_x].reshape(rows, step_y, cols * step_x)
    view = view[:, :: max(1, step_y // 8)]
    lines = view.mean(axis=1, dtype=np.float32)
    return lines.reshape(rows, cols, step_x).mean(axis=2, dtype=np.float32)


def bright_level(coarse: NDArray[np.float32]) -> float:
    """Return the 95th percentile of block means, counts; NaN if nothing is finite."""
    finite = coarse[np.isfinite(coarse)]
    return float(np.percentile(finite, 95)) if finite.size else float("nan")
