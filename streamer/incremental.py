"""Whether the whole of a frame is searched, or its known particles are followed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..models.arrays import Array
from ..models.detections import Expected
from .frames import Corrected
from .jump import jump
from .link import LinkState, Track, TrackState
from .link.masks import Placed, visible_part

_UNSURE = (TrackState.TENTATIVE, TrackState.COASTING)
_LEAST_SHARE = 0.3  # of a particle that the frame must show


def expected(link: LinkState, corrected: Corrected, unsearched: int, every: int) -> Expected | None:
    """Where to look for the particles of the next frame.

    The whole frame is searched at the start of a run, while a particle coasts or leaves the frame,
    while a new one is not confirmed yet, and every so many frames, as that is how new particles and
    lost ones are found. A particle that only its template has found in the frame before is left to
    its template until then: it was not detected when the whole frame was searched for it.

    Parameters
    ----------
    link : identities after the frame before.
    corrected : the frame; how far all particles have moved together is seen in it.
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
    total = jumped(link, corrected).shift
    shown = [_shown(track, total, corrected) for track in seen]
    if any(area < _LEAST_SHARE * track.area for track, (_, area) in zip(seen, shown, strict=True)):
        return None
    return Expected(
        centres=np.stack([yx for yx, _ in shown]),
        diameters=2 * np.sqrt(np.array([area for _, area in shown]) / np.pi),
    )


def _shown(track: Track, total: Array, corrected: Corrected) -> tuple[Array, float]:
    """Centre of mass (2,) px and area, px^2, of what the frame shows of a particle."""
    placed = _placed(track, total)
    part = visible_part(placed, corrected.valid)
    share = np.count_nonzero(part) / max(np.count_nonzero(placed.mask), 1)
    if share in (0.0, 1.0):
        return placed.yx, share * track.area
    off = np.argwhere(part).mean(axis=0) - np.argwhere(placed.mask).mean(axis=0)
    return placed.yx + off, share * track.area


def _placed(track: Track, total: Array) -> Placed:
    """The mask of a track where it is expected; `total` is the common shift so far, px."""
    yx = track.yx + track.velocity + total
    return Placed(mask=track.mask, mask_yx=track.mask_yx, yx=yx)


def jumped(link: LinkState, corrected: Corrected) -> LinkState:
    """Let the common shift be that of a frame in which nobody has detected particles yet."""
    known = (TrackState.TRACKED, TrackState.COASTING)
    masks = [_placed(t, link.shift) for t in link.tracks if t.state in known]
    shift, _ = jump(corrected.od, corrected.valid, masks)
    return replace(link, shift=link.shift + shift)


def can_coast(link: LinkState) -> bool:
    """Whether there are particles that can be kept without a detection in the next frame."""
    return not link.new_run and any(t.state == TrackState.TRACKED for t in link.tracks)
