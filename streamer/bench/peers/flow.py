"""Dense optical flow, sampled at the particles.

TV-L1 (Zach, Pock and Bischof 2007, doi:10.1007/978-3-540-74936-3_22) and iterative Lucas-Kanade
(Le Besnerais and Champagnat 2005, doi:10.1109/ICIP.2005.1529706), as scikit-image has them. Su et
al. 2024 (doi:10.1107/S1600577524000146) considered optical flow and gave it up for the contrast
that changes with energy; their later work uses it for the deformation.

Settings: frames of the same median and spread, since flow supposes constant brightness; half
resolution, which costs a quarter, averages the noise and doubles the reach of the pyramid; the
mean of the flow over the disc of each particle, not at its centre alone, where a smooth particle
has no gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from skimage.registration import optical_flow_ilk, optical_flow_tvl1

from ....models.arrays import Array
from .chain import Chain, against_first, against_previous
from .interface import PeerResult, PeerStart, Stack
from .prepare import filled, standardised

_BIN = 2
_ILK_RADIUS = 15  # px of the binned frame

_Flow = Callable[[Stack, Stack], NDArray[np.float32]]


def tvl1_absolute(stack: Stack, _energies: Array, start: PeerStart) -> PeerResult:
    """TV-L1 flow from the first frame to each frame."""
    return _track_flow(stack, start, optical_flow_tvl1, against_first)


def ilk_accumulated(stack: Stack, _energies: Array, start: PeerStart) -> PeerResult:
    """Lucas-Kanade flow from frame to frame, summed up along the path of each particle."""
    return _track_flow(
        stack, start, partial(optical_flow_ilk, radius=_ILK_RADIUS), against_previous
    )


def _track_flow(stack: Stack, start: PeerStart, flow: _Flow, chain: Chain) -> PeerResult:
    whole, usable = filled(stack)
    images = _binned(standardised(whole))

    def move(reference: int, frame: int, yx: Array) -> Array:
        found = flow(images[reference], images[frame])
        return yx + _BIN * _mean_over_discs(found, _to_binned(yx), start.radius / _BIN)

    return PeerResult(yx=chain(move, usable, start))


def _binned(stack: Stack) -> Stack:
    frames, height, width = (stack.shape[0], *(size // _BIN for size in stack.shape[1:]))
    cut = stack[:, : height * _BIN, : width * _BIN]
    return cut.reshape(frames, height, _BIN, width, _BIN).mean(axis=(2, 4))


def _to_binned(yx: Array) -> Array:
    """Places on the binned grid; centres of pixels are whole numbers on both."""
    return (yx - (_BIN - 1) / 2) / _BIN


def _mean_over_discs(flow: NDArray[np.float32], yx: Array, radius: Array) -> Array:
    """Mean of a flow (2, H, W) over the disc of each particle, (P, 2) px; NaN outside."""
    y, x = np.indices(flow.shape[1:])
    square = (y - yx[:, 0, None, None]) ** 2 + (x - yx[:, 1, None, None]) ** 2
    discs = (square <= radius[:, None, None] ** 2).reshape(len(yx), -1).astype(np.float64)
    area = discs.sum(axis=1)
    area[area == 0] = np.nan
    return discs @ flow.reshape(2, -1).T / area[:, None]
