"""Whether the whole of a frame is searched, or its known particles are followed."""

from __future__ import annotations

import numpy as np

from ..models.detections import Expected
from .link import LinkState, TrackState

_UNSURE = (TrackState.TENTATIVE, TrackState.COASTING)


def expected(link: LinkState, unsearched: int, every: int) -> Expected | None:
    """Where to look for the particles of the next frame.

    The whole frame is searched at the start of a run, while a particle coasts, while a new one is
    not confirmed yet, and every so many frames, as that is how new particles and lost ones are
    found. A particle that only its template has found in the frame before is left to its template
    until then: it was not detected when the whole frame was searched for it.

    Parameters
    ----------
    link : identities after the frame before.
    unsearched : frames since the last search.
    every : frames from one search to the next; 1 is always.

    Returns
    -------
    The particles that were detected in the frame before; None if the whole frame is to be searched.
    """
    if link.new_run or unsearched + 1 >= every:
        return None
    if any(track.state in _UNSURE for track in link.tracks):
        return None
    seen = [t for t in link.tracks if t.state == TrackState.TRACKED and not t.confirmed]
    if not seen:
        return None
    return Expected(
        centres=np.stack([t.yx + t.velocity + link.shift for t in seen]),
        diameters=2 * np.sqrt(np.array([t.area for t in seen]) / np.pi),
    )


def can_coast(link: LinkState) -> bool:
    """Whether there are particles that can be kept without a detection in the next frame."""
    return not link.new_run and any(t.state == TrackState.TRACKED for t in link.tracks)
