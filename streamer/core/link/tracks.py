"""The state of the linker: one track for each particle."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from ....models.detector import Detections


class TrackState(StrEnum):
    """Life of a particle: tentative, tracked, coasting, lost, retired."""

    TENTATIVE = "tentative"
    TRACKED = "tracked"
    COASTING = "coasting"
    LOST = "lost"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """What the linker remembers of one particle.

    Attributes
    ----------
    particle : identity, never re-used within a sample.
    yx : (2,) float64, last measured position in the frame of the electrode, px: the position in
        the image less the common shift accumulated until then.
    area : px^2, running mask area of sightings that were not cut.
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
    roi : (S, S) float32, its last ROI, for linkers that compare ROIs; see `ssim_scores`.
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
    sightings : one for each particle that is seen or coasts, or has just become lost or retired,
        by ascending particle.
    shift : (2,) float64, common shift of this frame against the one before, px.
    votes : fraction (0..1) of the living tracks that agree on that shift; NaN without tracks.
    detections : what the rows of the sightings refer to: those given, with detections of several
        particles divided and parts of one particle joined.
    """

    sightings: tuple[Observation, ...]
    shift: NDArray[np.float64]
    votes: float
    detections: Detections
