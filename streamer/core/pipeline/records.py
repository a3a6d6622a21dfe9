"""What is kept of a frame until its scan is over, to look at it again with all templates known."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ....models.arrays import Array
from ..register.motion import FrameMeasurement
from ..results import FrameResult
from .places import MeasuredPlace, Places


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameRecord:
    """One frame without its pictures.

    Attributes
    ----------
    result : what was told of it.
    instant : what registration worked with.
    found : how each particle was found.
    moments : central second moments of each particle's mask, px^2.
    labels : (H, W) int32, masks of the frame.
    """

    result: FrameResult
    instant: FrameMeasurement
    found: dict[int, MeasuredPlace]
    moments: dict[int, Array]
    labels: NDArray[np.int32]


def record(
    result: FrameResult,
    instant: FrameMeasurement,
    places: Places,
    moments: dict[int, Array],
    labels: NDArray[np.int32],
) -> FrameRecord:
    """Keep what a later look needs."""
    empty = np.zeros((0, 0), np.float32)
    bare = tuple(replace(p, roi=empty) for p in result.particles)
    return FrameRecord(
        result=replace(result, aligned=None, unaligned=None, particles=bare),
        instant=replace(instant, picture=None),
        found=places.found,
        moments=moments,
        labels=labels,
    )
