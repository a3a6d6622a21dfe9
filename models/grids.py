"""Values of a coarse grid on a finer one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def interpolate(
    value: NDArray[np.float32], rows: NDArray[np.intp], columns: NDArray[np.intp], scale: float
) -> NDArray[np.float32]:
    """Bilinear interpolation from a coarse grid to rows and columns of a fine one.

    Parameters
    ----------
    value : (h, w) on the coarse grid; beyond its rim the outermost value holds.
    rows, columns : (m,) and (n,) indices of fine cells.
    scale : size of a fine cell in units of a coarse one; cell 0 of both begins at the same place.

    Returns
    -------
    (m, n) float32.
    """
    low, high, part = _between(rows, scale, value.shape[0])
    lines = value[low] * (1 - part)[:, None] + value[high] * part[:, None]
    low, high, part = _between(columns, scale, value.shape[1])
    return (lines[:, low] * (1 - part) + lines[:, high] * part).astype(np.float32, copy=False)


def _between(
    index: NDArray[np.intp], scale: float, size: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Coarse neighbours of fine cells and the share of the second."""
    place = np.clip((index + 0.5) * scale - 0.5, 0, size - 1)
    low = place.astype(np.intp)
    return low, np.minimum(low + 1, size - 1), (place - low).astype(np.float32)
