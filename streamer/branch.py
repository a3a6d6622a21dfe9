"""Registration along one sequence of frames: places, motion, pictures, templates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ..models.arrays import Array
from ..models.detections import Detections
from ..models.ssim import Smoothed, joined, similarity, smooth
from .frame_results import frame_result, particle_results
from .frames import Corrected
from .link import LinkState, Sighting, TrackState
from .places import Known, Places, find_places
from .records import Record, record
from .register import motion as motion_core
from .register.anchors import Memory
from .register.background import picture
from .register.fuse import crop_rois, fuse, prepare
from .register.gauge import BACKGROUND
from .register.motion import FieldMotion, Instant, MotionState
from .register.settings import RegisterSettings
from .results import FrameResult
from .templates import remember
from .unaligned import unaligned

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """Identities and motion along one sequence of frames.

    Attributes
    ----------
    rois : last ROI of each particle, for the similarity of neighbours.
    moments : last central second moments of each particle's whole mask, px^2.
    misses : frames for which a particle has coasted.
    memories : what each particle looks like.
    unsearched : frames since the last one that was searched as a whole.
    """

    link: LinkState
    motion: MotionState
    rois: dict[int, Smoothed]
    moments: dict[int, Array]
    misses: dict[int, int]
    memories: dict[int, Memory]
    unsearched: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """One frame with its identities."""

    corrected: Corrected
    detections: Detections
    sightings: tuple[Sighting, ...]

    @property
    def alive(self) -> list[Sighting]:
        """Particles that are seen or coast."""
        ended = (TrackState.LOST, TrackState.RETIRED)
        return [s for s in self.sightings if s.state not in ended]


def locate(
    branch: Branch, frame: Linked, device: torch.device, settings: RegisterSettings
) -> tuple[Tensor, Places]:
    """Where the particles are: from their templates, else from their masks.

    Returns
    -------
    The frame as (1, 1, H, W) on the device, and the places.
    """
    image = prepare(frame.corrected.od, frame.corrected.valid, device)
    misses = {
        s.particle: branch.misses.get(s.particle, 0) + 1 for s in frame.alive if s.detection < 0
    }
    known = Known(
        memories=branch.memories,
        misses=misses,
        anchored=frozenset(p for p, m in branch.motion.particles.items() if m.anchored),
        last=motion_core.last_places(branch.motion),
    )
    places = find_places(
        image,
        frame.corrected.sigma,
        frame.detections,
        frame.alive,
        known,
        settings,
    )
    return image, places


def register(
    branch: Branch,
    frame: Linked,
    image: Tensor,
    places: Places,
    side: int,
    settings: RegisterSettings,
) -> tuple[Branch, FrameResult, Record]:
    """Advance the motion by one frame, and take its pictures.

    Parameters
    ----------
    image, places : see `locate`. side : of the ROIs, px.

    Returns
    -------
    The branch after the frame, its result, and what a later look at the whole scan needs of it.
    """
    corrected, detections = frame.corrected, frame.detections
    now = _instant(frame, places, settings)
    motion, field = motion_core.update(branch.motion, now, settings)
    rois = crop_rois(image, np.array([m.yx for m in field.moved]).reshape(-1, 2), side)
    likeness, fresh = compare(branch.rois, field, rois, settings.ssim_range)
    moments = _moments(branch.moments, frame.alive, detections)
    aligned = fuse(image, field, moments).cpu().numpy()
    particles = particle_results(frame.sightings, field, corrected, detections, (rois, likeness))
    result = frame_result(corrected, field, (aligned, unaligned(image)), particles)
    # what has retired is forgotten: dust comes and goes for days
    living = {track.particle for track in branch.link.tracks}
    views = rois.cpu().numpy()[:, 0]
    pictures = {m.particle: (m.yx, views[i]) for i, m in enumerate(field.moved)}
    memories = remember(branch.memories, places, pictures, corrected, detections)
    after = Branch(
        link=branch.link,
        motion=replace(motion, particles=_only(living, motion.particles)),
        rois=_only(living, {**branch.rois, **fresh}),
        moments=_only(living, moments),
        misses={
            s.particle: places.misses[s.particle]
            for s in frame.alive
            if s.particle in places.misses
        },
        memories=_only(living, memories),
        unsearched=0 if corrected.effort.searched else branch.unsearched + 1,
    )
    return after, result, record(result, now, places, moments, detections.labels)


def compare(
    before: Mapping[int, Smoothed], field: FieldMotion, rois: Tensor, data_range: float
) -> tuple[Array, dict[int, Smoothed]]:
    """Structural similarity of the ROIs (P, 1, S, S) with those before.

    Returns
    -------
    (P,), NaN without one before, and what the next frame is compared with.
    """
    values = np.full(len(field.moved), np.nan)
    if not len(values):  # before the first particle, ROIs have no size yet
        return values, {}
    now = smooth(rois)
    rows = [
        i
        for i, m in enumerate(field.moved)
        if m.particle in before and before[m.particle].image.shape == now.image[:1].shape
    ]
    if rows:
        old = joined([before[field.moved[i].particle] for i in rows])
        new = now if len(rows) == len(values) else joined([now.row(i) for i in rows])
        values[rows] = similarity(old, new, data_range).cpu().numpy()
    return values, {m.particle: now.row(i) for i, m in enumerate(field.moved)}


def _only(living: set[int], entries: dict[int, T]) -> dict[int, T]:
    return {particle: entry for particle, entry in entries.items() if particle in living}


def _moments(
    before: dict[int, Array], alive: list[Sighting], detections: Detections
) -> dict[int, Array]:
    after = dict(before)
    for sighting in alive:
        row = sighting.detection
        # a cut mask tells less of the particle than an earlier whole one
        if row >= 0 and not (detections.cut[row] and sighting.particle in after):
            after[sighting.particle] = detections.moments[row]
    return after


def _instant(frame: Linked, places: Places, settings: RegisterSettings) -> Instant:
    corrected = frame.corrected
    behind = None
    if settings.gauge == BACKGROUND:
        behind = picture(corrected.od, corrected.valid, frame.detections.labels)
    height, width = corrected.od.shape
    return Instant(
        frame=corrected.frame,
        time=corrected.time,
        energy=corrected.energy,
        shape=(height, width),
        measured=places.measured,
        picture=behind,
    )
