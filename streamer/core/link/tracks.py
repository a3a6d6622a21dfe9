"""State of the linker: one track for each particle, and what a frame does to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from ....models.arrays import Array
from ....models.detector import Detections
from .masks import DetectionView, PlacedMask
from .settings import LinkSettings

_MOVES_PX = 2.0  # own motion per frame below which it may be the wander of a mask; by eye
_FADE = 0.7  # what is left of an expected motion from one unseen frame to the next; by eye
_KEPT_SHAPE = 0.7  # weight of what is known in running means of area and moments; by eye
_KEPT_THUMBNAIL = 0.8  # likewise of thumbnails; by eye


class TrackState(StrEnum):
    """Life of a particle: tentative, tracked, coasting, lost, retired."""

    TENTATIVE = "tentative"
    TRACKED = "tracked"
    COASTING = "coasting"
    LOST = "lost"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One particle as the linker knows it.

    Attributes
    ----------
    particle : identity, never re-used within a sample.
    yx : (2,) float64, last measured position in the frame of the electrode, px: the position in
        the image less the common shift accumulated until then.
    area : px^2, running mask area of observations that were not cut.
    moments : (3,) float64, central second moments (yy, xx, yx), px^2.
    mask : (h, w) bool, last mask, whole if it was ever seen whole; `mask_yx` : (2,) position of
        the centre of mass in it, px.
    thumbnail : (T, T) float32, running standardised ROI.
    hits : number of detections; misses : frames since the last one, or since it was confirmed.
    whole : the mask, its area and its moments are those of the whole particle.
    step : (2,) float64, last own motion from one frame to the next, px.
    velocity : (2,) float64, own motion per frame that is expected, px; zero unless it persists.
    apart : frames in a row in which its mask held other detections, too.
    confirmed : confirmations in a row without a detection.
    roi : (S, S) float32, its last ROI, for linkers that compare ROIs; see `ssim`.
    """

    particle: int
    state: TrackState
    yx: NDArray[np.float64]
    area: float
    moments: NDArray[np.float64]
    mask: NDArray[np.bool_]
    mask_yx: NDArray[np.float64]
    thumbnail: NDArray[np.float32]
    hits: int
    misses: int
    whole: bool
    step: NDArray[np.float64]
    velocity: NDArray[np.float64]
    apart: int = 0
    confirmed: int = 0
    roi: NDArray[np.float32] | None = None

    def expected(self, total: Array) -> PlacedMask:
        """Place the mask where it is expected; `total` is the common shift so far, (2,) px."""
        return PlacedMask(mask=self.mask, mask_yx=self.mask_yx, yx=self.yx + self.velocity + total)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkState:
    """State of the linker of one sample.

    Attributes
    ----------
    tracks : living tracks, by ascending particle.
    next_particle : identity of the next birth.
    shift : (2,) float64, common shift accumulated since the first frame, px.
    new_run : True until the first frame of a run has been linked.
    """

    tracks: tuple[Track, ...] = ()
    next_particle: int = 0
    shift: NDArray[np.float64]
    new_run: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One particle in one frame.

    Attributes
    ----------
    detection : row of the detection, -1 if the particle was not seen (coasting, lost, retired).
    yx : (2,) float64, position in the image, px; the prediction if it was not seen. Of a cut
        particle that was once seen whole, where its centre must lie for what is seen of it.
    similarity : structural similarity of its standardised ROI with that of its track; NaN if unseen
        or new.
    divided : its mask is a share of one detection of several particles: where it borders on
        another one, its rim is a guess.
    """

    particle: int
    state: TrackState
    detection: int
    yx: NDArray[np.float64]
    similarity: float
    divided: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkResult:
    """Identities in one frame.

    Attributes
    ----------
    observations : one for each particle that is seen or coasts, or has just become lost or retired,
        by ascending particle.
    shift : (2,) float64, common shift of this frame against the one before, px.
    votes : fraction (0..1) of the living tracks that agree on that shift; NaN without tracks.
    detections : what the rows of the observations refer to: those given, with detections of several
        particles divided and parts of one particle joined.
    """

    observations: tuple[Observation, ...]
    shift: NDArray[np.float64]
    votes: float
    detections: Detections


def hit(
    track: Track, view: DetectionView, yx: Array, total: Array, settings: LinkSettings
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
    # own motion is expected if two steps in a row were long and alike
    before, lengths = track.step, (np.hypot(*track.step), np.hypot(*step))
    lasts = min(lengths) >= _MOVES_PX and np.hypot(*(step - before)) <= 0.6 * max(lengths)
    track = _shape(track, view)
    thumbnail = _KEPT_THUMBNAIL * track.thumbnail + (1 - _KEPT_THUMBNAIL) * view.thumbnail
    thumbnail = thumbnail.astype(np.float32)
    return replace(
        track,
        state=TrackState.TRACKED if known else TrackState.TENTATIVE,
        yx=here,
        thumbnail=thumbnail / max(float(thumbnail.std()), 1e-6),
        hits=hits,
        misses=0,
        step=step,
        velocity=0.5 * (before + step) if lasts else np.zeros(2),
        confirmed=0,
    )


def _shape(track: Track, view: DetectionView) -> Track:
    """Take over the mask; a partial one is not the shape of the particle: keep what is known."""
    partial = view.cut or view.divided
    if partial and track.whole:
        return track
    # the first whole mask replaces those of a particle that enters; later ones are averaged
    keep = _KEPT_SHAPE if track.whole or (partial and view.area < track.area) else 0.0
    return replace(
        track,
        area=keep * track.area + (1 - keep) * view.area,
        moments=keep * track.moments + (1 - keep) * view.moments,
        mask=view.placed.mask,
        mask_yx=view.placed.mask_yx,
        whole=track.whole or not partial,
    )


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


def birth(particle: int, view: DetectionView, total: Array, settings: LinkSettings) -> Track:
    """Found a track with a detection."""
    once = settings.confirm_frames <= 1
    return Track(
        particle=particle,
        state=TrackState.TRACKED if once else TrackState.TENTATIVE,
        yx=view.placed.yx - total,
        area=view.area,
        moments=view.moments,
        mask=view.placed.mask,
        mask_yx=view.placed.mask_yx,
        thumbnail=view.thumbnail,
        hits=1,
        misses=0,
        whole=not (view.cut or view.divided),
        step=np.zeros(2),
        velocity=np.zeros(2),
    )


def confirm(track: Track, yx: Array, total: Array, settings: LinkSettings) -> Track:
    """Keep a coasting track that was measured at its expected place although not detected.

    It is `tracked` again and its misses are forgotten, over at most `confirm_limit` frames: what
    registers an image finds something everywhere. Its shape and thumbnail stay as they were.
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
