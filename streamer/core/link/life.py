"""What a frame does to one track: seen, missed, born, confirmed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ....models.arrays import Array
from .look import DetectionView
from .settings import LinkSettings
from .tracks import Track, TrackState

_MOVES_PX = 2.0  # own motion per frame below which it may be the wander of a mask

_FADE = 0.7


def hit(
    track: Track, look: DetectionView, yx: Array, total: Array, settings: LinkSettings
) -> Track:
    """Continue a track with a detection.

    Parameters
    ----------
    yx : (2,) position in the image, px.
    total : (2,) common shift so far, px.
    """
    hits = track.hits + 1
    known = track.state != TrackState.TENTATIVE or hits >= settings.confirm_frames
    here = yx - total
    step = (here - track.yx) / (track.misses + 1)
    track = _shape(track, look)
    thumbnail = (0.8 * track.thumbnail + 0.2 * look.view).astype(np.float32)
    return replace(
        track,
        state=TrackState.TRACKED if known else TrackState.TENTATIVE,
        yx=here,
        thumbnail=thumbnail / max(float(thumbnail.std()), 1e-6),
        hits=hits,
        misses=0,
        step=step,
        velocity=_velocity(track.step, step),
        confirmed=0,
    )


def _shape(track: Track, look: DetectionView) -> Track:
    """Take over the mask; a partial one is not the shape of the particle: keep what is known."""
    partial = look.cut or look.divided
    if partial and track.whole:
        return track
    # the first whole mask replaces those of a particle that enters; later ones are averaged
    keep = 0.7 if track.whole or (partial and look.area < track.area) else 0.0
    return replace(
        track,
        area=keep * track.area + (1 - keep) * look.area,
        moments=keep * track.moments + (1 - keep) * look.moments,
        mask=look.placed.mask,
        mask_yx=look.placed.mask_yx,
        whole=track.whole or not partial,
    )


def _velocity(before: Array, now: Array) -> Array:
    """Own motion to expect: none, unless two steps in a row were long and alike."""
    lengths = np.hypot(*before), np.hypot(*now)
    if min(lengths) < _MOVES_PX or np.hypot(*(now - before)) > 0.6 * max(lengths):
        return np.zeros(2)
    return 0.5 * (before + now)


def miss(track: Track, settings: LinkSettings) -> Track:
    """Advance a track that was not seen."""
    misses = track.misses + 1
    if track.state == TrackState.TENTATIVE:
        retired = misses > settings.tentative_frames
        state = TrackState.RETIRED if retired else TrackState.TENTATIVE
    elif misses > settings.lost_frames:
        state = TrackState.RETIRED
    elif misses > settings.coast_frames:
        state = TrackState.LOST
    else:
        state = TrackState.COASTING
    return replace(
        track,
        state=state,
        misses=misses,
        yx=track.yx + track.velocity,
        velocity=_FADE * track.velocity,
    )


def birth(particle: int, look: DetectionView, total: Array, settings: LinkSettings) -> Track:
    """Found a track with a detection."""
    once = settings.confirm_frames <= 1
    return Track(
        particle=particle,
        state=TrackState.TRACKED if once else TrackState.TENTATIVE,
        yx=look.placed.yx - total,
        area=look.area,
        moments=look.moments,
        mask=look.placed.mask,
        mask_yx=look.placed.mask_yx,
        thumbnail=look.view,
        hits=1,
        misses=0,
        whole=not (look.cut or look.divided),
        step=np.zeros(2),
        velocity=np.zeros(2),
    )


def confirm(track: Track, yx: Array, total: Array, settings: LinkSettings) -> Track:
    """Keep a coasting track that was measured at its expected place although not detected.

    It is `tracked` again and its misses are forgotten, over at most `confirm_limit` frames: what
    registers an image finds something everywhere. Its shape and looks stay as they were.
    """
    if track.state != TrackState.COASTING or track.confirmed >= settings.confirm_limit:
        return track
    return replace(
        track,
        state=TrackState.TRACKED,
        yx=yx - total,
        misses=0,
        velocity=np.zeros(2),
        confirmed=track.confirmed + 1,
    )
