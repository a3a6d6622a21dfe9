"""Registration along one sequence of frames: places, motion, pictures, templates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ....models.arrays import Array
from ....models.detector import Detections
from ....models.ssim import Smoothed, joined, similarity, smooth
from ..frames import DetectionMode, OpticalDensityFrame
from ..link import LinkState, Observation, TrackState
from ..register import motion as motion_core
from ..register.background import picture
from ..register.fuse import crop_rois, fuse, prepare, unaligned
from ..register.gauge import BACKGROUND
from ..register.kinematics import UNKNOWN
from ..register.motion import FieldMotion, FrameMeasurement, MotionState, ParticleShift
from ..register.outline import UNKNOWN as NO_OUTLINE
from ..register.outline import outlines
from ..register.settings import RegisterSettings
from ..register.templates import TemplateSet
from ..results import FrameResult, ParticleResult, Status
from .learning import remember
from .places import Places, PriorKnowledge, find_places
from .records import FrameRecord, record

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
    memories: dict[int, TemplateSet]
    unsearched: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """One frame with its identities."""

    corrected: OpticalDensityFrame
    detections: Detections
    sightings: tuple[Observation, ...]

    @property
    def alive(self) -> list[Observation]:
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
    known = PriorKnowledge(
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
) -> tuple[Branch, FrameResult, FrameRecord]:
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
    before: dict[int, Array], alive: list[Observation], detections: Detections
) -> dict[int, Array]:
    after = dict(before)
    for sighting in alive:
        row = sighting.detection
        # a cut mask tells less of the particle than an earlier whole one
        if row >= 0 and not (detections.cut[row] and sighting.particle in after):
            after[sighting.particle] = detections.moments[row]
    return after


def _instant(frame: Linked, places: Places, settings: RegisterSettings) -> FrameMeasurement:
    corrected = frame.corrected
    behind = None
    if settings.gauge == BACKGROUND:
        behind = picture(corrected.od, corrected.valid, frame.detections.labels)
    height, width = corrected.od.shape
    return FrameMeasurement(
        frame=corrected.frame,
        time=corrected.time,
        energy=corrected.energy,
        shape=(height, width),
        measured=places.measured,
        picture=behind,
    )


# What registration found, as results.


def particle_results(
    sightings: tuple[Observation, ...],
    field: FieldMotion,
    corrected: OpticalDensityFrame,
    detections: Detections,
    views: tuple[Tensor, Array],
) -> tuple[ParticleResult, ...]:
    """One result for each sighting; `views` are the ROIs and their likeness to those before."""
    rois, likeness = views[0].cpu().numpy()[:, 0], views[1]
    moved = {m.particle: (i, m) for i, m in enumerate(field.moved)}
    means = _mean_od(corrected, detections)
    side = rois.shape[-1]
    rims = _outlines(sightings, detections, {p: m.yx for p, (_, m) in moved.items()})
    rows = []
    for sighting in sightings:
        index, motion = moved.get(sighting.particle, (-1, _ended(sighting)))
        seen = sighting.detection >= 0
        rows.append(
            ParticleResult(
                particle=sighting.particle,
                state=str(sighting.state),
                yx=motion.yx,
                sigma=motion.sigma,
                displacement=motion.displacement,
                rates=motion.rates,
                path=motion.path,
                residual=motion.residual,
                area=float(detections.area[sighting.detection]) if seen else float("nan"),
                od_mean=float(means[sighting.detection]) if seen else float("nan"),
                ssim=float(likeness[index]) if index >= 0 else float("nan"),
                roi=rois[index] if index >= 0 else np.full((side, side), np.nan, np.float32),
                outline=rims.get(sighting.particle, NO_OUTLINE),
            )
        )
    return tuple(rows)


def _ended(sighting: Observation) -> ParticleShift:
    """Lost and retired particles have a last expected place and no motion."""
    unknown = np.full(2, np.nan)
    return ParticleShift(
        particle=sighting.particle,
        yx=sighting.yx,
        sigma=unknown,
        displacement=unknown,
        rates=UNKNOWN,
        path=float("nan"),
        residual=unknown,
        reference_yx=unknown,
    )


def _outlines(
    sightings: tuple[Observation, ...], detections: Detections, places: dict[int, Array]
) -> dict[int, NDArray[np.float32]]:
    """Outlines of the particles that are seen, about their places."""
    seen = [s for s in sightings if s.detection >= 0 and s.particle in places]
    rows = np.array([s.detection for s in seen], np.int64)
    centres = np.array([places[s.particle] for s in seen]).reshape(-1, 2)
    found = outlines(detections, rows, centres)
    return {s.particle: rim for s, rim in zip(seen, found, strict=True)}


def _mean_od(corrected: OpticalDensityFrame, detections: Detections) -> Array:
    means = np.full(len(detections), np.nan)
    for row, (y0, x0, y1, x1) in enumerate(detections.bbox):
        window = (slice(y0, y1), slice(x0, x1))
        inside = (detections.labels[window] == row + 1) & corrected.valid[window]
        if inside.any():
            means[row] = corrected.od[window][inside].mean(dtype=np.float64)
    return means


def frame_result(
    corrected: OpticalDensityFrame,
    field: FieldMotion,
    images: tuple[NDArray[np.float32], NDArray[np.float32]],
    particles: tuple[ParticleResult, ...],
) -> FrameResult:
    """The result of a frame; `images` are the aligned one and that as it came.

    It is degraded, with the reasons in one text, separated by semicolons: if its particles were not
    looked for as well as they should be, if it is blurred, or if most known ones were not detected.
    """
    reasons = [r for r in (corrected.effort.reason, _poor(corrected, particles)) if r]
    return FrameResult(
        key=corrected.key,
        frame=corrected.frame,
        energy=float("nan") if corrected.energy is None else corrected.energy,
        time=corrected.time,
        revision=corrected.revision,
        status=Status.DEGRADED if reasons else Status.ALIGNED,
        reason=";".join(reasons),
        drift=field.drift,
        drift_sigma=float(np.sqrt(np.mean(field.sigma**2))),
        gauge=field.gauge,
        affine=field.affine,
        magnification=field.magnification,
        aligned=images[0],
        particles=particles,
        noise=corrected.sigma,
        unaligned=images[1],
    )


def _poor(corrected: OpticalDensityFrame, particles: tuple[ParticleResult, ...]) -> str:
    """What is wrong with the image, or with what was detected in it."""
    if corrected.blurred:
        return "blurred"
    if corrected.effort.rung == DetectionMode.COASTING:  # nobody has looked
        return ""
    if not any(np.isfinite(p.area) for p in particles):
        return "no_particles"
    expected = [p for p in particles if p.state in (TrackState.TRACKED, TrackState.COASTING)]
    seen = sum(bool(np.isfinite(p.area)) for p in expected)
    return "few_particles" if 2 * seen < len(expected) else ""
