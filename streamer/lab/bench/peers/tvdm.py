"""Least total variation of the difference map, a method made for XANES.

Xiao, Xu, Hou, Yang and Lin 2022, J. Synchrotron Rad. 29, 1085, doi:10.1107/S1600577522005598: the
shift at which the sum of the absolute gradients of (reference - frame) is least. Written anew after
the paper, for this comparison only.

Settings: each frame against the first one, as the frames are (a difference of contrast leaves
the minimum where it is, which is the point of the method); smoothed by 3 px as the authors do;
a pyramid of four levels that reaches 64 px, and at full resolution a parabola per axis.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from .....models.arrays import Array
from .interface import PeerResult, PeerStart, Stack, against_first, filled

_SMOOTH = 3.0  # px

_LEVELS = (8, 4, 2, 1)

_REACH = 8  # px of the coarsest level

_STEP = 2  # px of the finer levels

_Whole = NDArray[np.int64]


def tvdm(stack: Stack, _energies: Array, start: PeerStart) -> PeerResult:
    """Translation of each frame against the first one."""
    whole, usable = filled(stack)
    smooth = np.stack([gaussian_filter(image, _SMOOTH) for image in whole]).astype(np.float32)
    pyramids = [_binned(smooth, level) for level in _LEVELS]

    def move(reference: int, frame: int, yx: Array) -> Array:
        return yx + _motion([(level[reference], level[frame]) for level in pyramids])

    return PeerResult(yx=against_first(move, usable, start))


def _binned(stack: Stack, size: int) -> Stack:
    frames, height, width = (stack.shape[0], *(n // size for n in stack.shape[1:]))
    cut = stack[:, : height * size, : width * size]
    return cut.reshape(frames, height, size, width, size).mean(axis=(2, 4))


def _motion(pairs: list[tuple[Stack, Stack]]) -> Array:
    """Motion (2,) px between two images, given on each level of the pyramid."""
    best, reach = np.zeros(2, np.int64), _REACH
    for (reference, frame), size in zip(pairs, _LEVELS, strict=True):
        values = _search(reference, frame, best, reach)
        at = np.array(np.unravel_index(values.argmin(), values.shape))
        best = best + at - reach
        if size > 1:
            best, reach = best * (size // _LEVELS[_LEVELS.index(size) + 1]), _STEP
    return best + _parabola(pairs[-1], best)


def _search(reference: Stack, frame: Stack, centre: _Whole, reach: int) -> Array:
    """Total variation at all whole shifts within reach of a centre, (2 reach + 1,) * 2."""
    steps = range(-reach, reach + 1)
    return np.array(
        [[_variation(reference, frame, centre + np.array([y, x])) for x in steps] for y in steps]
    )


def _variation(reference: Stack, frame: Stack, motion: _Whole) -> float:
    """Mean absolute gradient of the difference, where both images are known."""
    both = [
        (slice(max(0, -m), size - max(0, m)), slice(max(0, m), size + min(0, m)))
        for m, size in zip(motion.tolist(), reference.shape, strict=True)
    ]
    difference = reference[both[0][0], both[1][0]] - frame[both[0][1], both[1][1]]
    return float(sum(np.abs(np.diff(difference, axis=axis)).mean() for axis in (0, 1)))


def _parabola(pair: tuple[Stack, Stack], best: _Whole) -> Array:
    """Fraction (2,) px by which the minimum lies beside the best whole shift."""
    values = _search(*pair, best, 1)
    below, above = np.array([values[0, 1], values[1, 0]]), np.array([values[2, 1], values[1, 2]])
    curvature = below + above - 2 * values[1, 1]
    return np.where(curvature > 0, (below - above) / 2 / np.maximum(curvature, 1e-30), 0.0)
