"""Whether the images follow the moves: a wrong sign must not run away."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .latest import Measured
from .settings import FeedbackSettings

Array = NDArray[np.float64]

UNKNOWN = ""
FOLLOWED = "followed"
REVERSED = "reversed"
ASTRAY = "astray"


def judge(before: Measured, after: Measured, moved: Array, settings: FeedbackSettings) -> str:
    """Compare how the drift has changed with the moves made between two frames.

    Parameters
    ----------
    before, after : drift in the two frames. moved : (2,) px, sum of the moves between them.

    Returns
    -------
    `FOLLOWED`; `REVERSED`, the image went the other way; `ASTRAY`, it went elsewhere, which may
    also be a jump of the field; `UNKNOWN` if the moves were too short to tell from what the field
    does by itself.
    """
    length = float(np.hypot(*moved))
    if length < settings.dead_band_px / 2:
        return UNKNOWN
    noise = 3 * float(np.hypot(before.sigma, after.sigma))
    change = after.drift - before.drift
    allowed = max(settings.response_tolerance * length, settings.response_px + noise)
    if _length(change - moved) > allowed:
        return REVERSED if _length(change + moved) <= allowed else ASTRAY
    along = float(change @ moved) / length**2
    sure = length >= settings.response_px and along >= 1 - settings.response_tolerance
    return FOLLOWED if sure else UNKNOWN


def _length(vector: Array) -> float:
    return float(np.hypot(vector[0], vector[1]))
