"""From motion between two frames to positions in all of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ....models.arrays import Array
from .interface import PeerStart

Move = Callable[[int, int, Array], Array | None]
"""``move(a, b, yx)``: where the places (P, 2) of frame a are in frame b, px; None if it fails."""

Chain = Callable[[Move, NDArray[np.bool_], PeerStart], Array]


def against_first(move: Move, usable: NDArray[np.bool_], start: PeerStart) -> Array:
    """Move the start from the reference frame to each frame.

    Parameters
    ----------
    move : see :data:`Move`.
    usable : (F,) bool, frames that can be registered at all.
    start : the particles.

    Returns
    -------
    (F, P, 2) px; NaN in frames that are not usable or where `move` failed.
    """
    yx = _nowhere(usable, start)
    for k in np.flatnonzero(usable):
        moved = move(start.frame0, int(k), start.yx) if k != start.frame0 else None
        if moved is not None:
            yx[k] = moved
    return yx


def against_previous(move: Move, usable: NDArray[np.bool_], start: PeerStart) -> Array:
    """Move the start from frame to frame, forward and back from the reference frame.

    A frame that is not usable, or where `move` fails, is NaN and left out of the chain.
    Parameters and result as of :func:`against_first`.
    """
    yx = _nowhere(usable, start)
    frames = np.flatnonzero(usable)
    for order in (frames[frames > start.frame0], frames[frames < start.frame0][::-1]):
        last = start.frame0
        for k in map(int, order):
            moved = move(last, k, yx[last])
            if moved is not None:
                yx[k], last = moved, k
    return yx


def _nowhere(usable: NDArray[np.bool_], start: PeerStart) -> Array:
    yx = np.full((len(usable), *start.yx.shape), np.nan)
    yx[start.frame0] = start.yx
    return yx
