"""What registration found, as results."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..models.arrays import Array
from ..models.detections import Detections
from .frames import Corrected
from .ladder import Rung
from .link import Sighting, TrackState
from .outline import UNKNOWN as NO_OUTLINE
from .outline import outlines
from .register.kinematics import UNKNOWN
from .register.motion import FieldMotion, Moved
from .results import FrameResult, ParticleResult, Status


def particle_results(
    sightings: tuple[Sighting, ...],
    field: FieldMotion,
    corrected: Corrected,
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


def _ended(sighting: Sighting) -> Moved:
    """Lost and retired particles have a last expected place and no motion."""
    unknown = np.full(2, np.nan)
    return Moved(
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
    sightings: tuple[Sighting, ...], detections: Detections, places: dict[int, Array]
) -> dict[int, NDArray[np.float32]]:
    """Outlines of the particles that are seen, about their places."""
    seen = [s for s in sightings if s.detection >= 0 and s.particle in places]
    rows = np.array([s.detection for s in seen], np.int64)
    centres = np.array([places[s.particle] for s in seen]).reshape(-1, 2)
    found = outlines(detections, rows, centres)
    return {s.particle: rim for s, rim in zip(seen, found, strict=True)}


def _mean_od(corrected: Corrected, detections: Detections) -> Array:
    means = np.full(len(detections), np.nan)
    for row, (y0, x0, y1, x1) in enumerate(detections.bbox):
        window = (slice(y0, y1), slice(x0, x1))
        inside = (detections.labels[window] == row + 1) & corrected.valid[window]
        if inside.any():
            means[row] = corrected.od[window][inside].mean(dtype=np.float64)
    return means


def frame_result(
    corrected: Corrected,
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


def _poor(corrected: Corrected, particles: tuple[ParticleResult, ...]) -> str:
    """What is wrong with the image, or with what was detected in it."""
    if corrected.blurred:
        return "blurred"
    if corrected.effort.rung == Rung.COASTING:  # nobody has looked
        return ""
    if not any(np.isfinite(p.area) for p in particles):
        return "no_particles"
    expected = [p for p in particles if p.state in (TrackState.TRACKED, TrackState.COASTING)]
    seen = sum(bool(np.isfinite(p.area)) for p in expected)
    return "few_particles" if 2 * seen < len(expected) else ""
