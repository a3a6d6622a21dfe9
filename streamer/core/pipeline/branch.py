"""One frame along one sequence of frames: its motion, images and templates, and its result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from ....models.arrays import Array, Image, Labels
from ....models.detector import Detections
from ....models.ssim import Smoothed, joined, similarity, smooth
from ..frames import DetectionMode, OpticalDensityFrame
from ..link import LinkResult, LinkState, Observation, TrackState
from ..register import motion as motion_core
from ..register.background import picture
from ..register.drift import BACKGROUND
from ..register.images import crop_rois, fuse, outlines, unaligned
from ..register.motion import FieldMotion, FrameMeasurement, MotionState
from ..register.particle import UNKNOWN, ParticleShift, PositionMeasurement
from ..register.settings import RegisterSettings
from ..register.templates import TemplateSet, learn_frame
from ..results import NO_OUTLINE, FrameResult, ParticleResult, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """Identities and motion along one sequence of frames.

    Attributes
    ----------
    rois : last ROI of each particle, for the similarity of neighbours.
    moments : last central second moments of each particle's whole mask, px^2.
    misses : frames for which a particle has coasted.
    templates : of each particle.
    unsearched : frames since the last one that was searched as a whole.
    """

    link: LinkState
    motion: MotionState
    rois: dict[int, Smoothed]
    moments: dict[int, Array]
    misses: dict[int, int]
    templates: dict[int, TemplateSet]
    unsearched: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameRecord:
    """One frame without its images, kept for the second pass.

    Attributes
    ----------
    result : as it was published.
    measurement : what its motion was advanced by.
    moments : central second moments of each particle's mask, px^2.
    labels : (H, W) int32, masks of the frame.
    """

    result: FrameResult
    measurement: FrameMeasurement
    moments: dict[int, Array]
    labels: Labels


def register(
    branch: Branch,
    corrected: OpticalDensityFrame,
    linked: LinkResult,
    measured: tuple[PositionMeasurement, ...],
    image: Tensor,
    side: int,
    settings: RegisterSettings,
) -> tuple[Branch, FrameResult, FrameRecord]:
    """Advance the motion by one frame, and take its images.

    Parameters
    ----------
    corrected : the frame. image : the same as (1, 1, H, W) on the device, NaN where invalid.
    linked : its identities. measured : its places. side : of the ROIs, px.

    Returns
    -------
    The branch after the frame, its result, and what the second pass needs of it.
    """
    detections, behind = linked.detections, None
    if settings.gauge == BACKGROUND:
        behind = picture(corrected.od, corrected.valid, detections.labels)
    height, width = corrected.od.shape
    now = FrameMeasurement(
        frame=corrected.frame,
        time=corrected.time,
        energy=corrected.energy,
        shape=(height, width),
        measured=measured,
        background=behind,
    )
    motion, field = motion_core.update(branch.motion, now, settings)
    rois = crop_rois(image, np.array([m.yx for m in field.moved]).reshape(-1, 2), side)
    likeness, fresh = compare(branch.rois, field, rois, settings.ssim_range)
    moments = dict(branch.moments)
    for o in linked.observations:
        # a cut mask tells less of the particle than an earlier whole one
        if o.detection >= 0 and not (detections.cut[o.detection] and o.particle in moments):
            moments[o.particle] = detections.moments[o.detection]
    views = rois.cpu().numpy()[:, 0]
    result = frame_result(
        corrected,
        field,
        (fuse(image, field, moments).cpu().numpy(), unaligned(image)),
        particle_results(linked, field, corrected, views, likeness),
    )
    pictures = {m.particle: (m.yx, views[i]) for i, m in enumerate(field.moved)}
    templates = learn_frame(branch.templates, measured, pictures, corrected, detections)
    # what has retired is forgotten: dust comes and goes for days
    living = {track.particle for track in branch.link.tracks}
    after = Branch(
        link=branch.link,
        motion=replace(
            motion, particles={p: m for p, m in motion.particles.items() if p in living}
        ),
        rois={p: roi for p, roi in {**branch.rois, **fresh}.items() if p in living},
        moments={p: m for p, m in moments.items() if p in living},
        misses={m.particle: branch.misses.get(m.particle, 0) + 1 for m in measured if not m.seen},
        templates={p: known for p, known in templates.items() if p in living},
        unsearched=0 if corrected.effort.searched else branch.unsearched + 1,
    )
    empty = np.zeros((0, 0), np.float32)
    bare = tuple(replace(p, roi=empty) for p in result.particles)
    return (
        after,
        result,
        FrameRecord(
            result=replace(result, aligned=None, unaligned=None, particles=bare),
            measurement=replace(now, background=None),
            moments=moments,
            labels=detections.labels,
        ),
    )


def compare(
    before: Mapping[int, Smoothed], field: FieldMotion, rois: Tensor, data_range: float
) -> tuple[Array, dict[int, Smoothed]]:
    """Compute the structural similarity of the ROIs (P, 1, S, S) with those before.

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


def particle_results(
    linked: LinkResult,
    field: FieldMotion,
    corrected: OpticalDensityFrame,
    rois: Image,
    likeness: Array,
) -> tuple[ParticleResult, ...]:
    """Make one result of each observation.

    Parameters
    ----------
    rois : (P, S, S) float32, of the particles in `field`, OD. likeness : (P,), with those before.
    """
    detections, side = linked.detections, rois.shape[-1]
    moved = {m.particle: (i, m) for i, m in enumerate(field.moved)}
    means = _mean_od(corrected, detections)
    seen = [o for o in linked.observations if o.detection >= 0 and o.particle in moved]
    centres = np.array([moved[o.particle][1].yx for o in seen]).reshape(-1, 2)
    found = outlines(detections, np.array([o.detection for o in seen], np.int64), centres)
    rims = {o.particle: rim for o, rim in zip(seen, found, strict=True)}
    results = []
    for o in linked.observations:
        index, motion = moved.get(o.particle) or (-1, _ended(o))
        detected = o.detection >= 0
        results.append(
            ParticleResult(
                particle=o.particle,
                state=str(o.state),
                yx=motion.yx,
                sigma=motion.sigma,
                displacement=motion.displacement,
                rates=motion.rates,
                path=motion.path,
                residual=motion.residual,
                area=float(detections.area[o.detection]) if detected else float("nan"),
                od_mean=float(means[o.detection]) if detected else float("nan"),
                ssim=float(likeness[index]) if index >= 0 else float("nan"),
                roi=rois[index] if index >= 0 else np.full((side, side), np.nan, np.float32),
                outline=rims.get(o.particle, NO_OUTLINE),
            )
        )
    return tuple(results)


def _ended(observed: Observation) -> ParticleShift:
    """Give lost and retired particles their last expected place and no motion."""
    unknown = np.full(2, np.nan)
    return ParticleShift(
        particle=observed.particle,
        yx=observed.yx,
        sigma=unknown,
        displacement=unknown,
        rates=UNKNOWN,
        path=float("nan"),
        residual=unknown,
        reference_yx=unknown,
    )


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
    images: tuple[Image, Image],
    particles: tuple[ParticleResult, ...],
) -> FrameResult:
    """Make the result of a frame; `images` are the aligned one and that as it came.

    It is degraded, with the reasons in one text, separated by semicolons: if its particles were not
    searched for as well as they should be, if it is blurred, or if most known ones were missed.
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
    """Name what is wrong with the image, or with what was detected in it."""
    if corrected.blurred:
        return "blurred"
    if corrected.effort.mode == DetectionMode.COASTING:  # nothing was to be detected
        return ""
    if not any(np.isfinite(p.area) for p in particles):
        return "no_particles"
    expected = [p for p in particles if p.state in (TrackState.TRACKED, TrackState.COASTING)]
    seen = sum(bool(np.isfinite(p.area)) for p in expected)
    return "few_particles" if 2 * seen < len(expected) else ""
