"""Corrected frames and their detections in, registered particles out: link, then register."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ..models.detections import Detections
from ..models.ssim import ssim
from .frames import Corrected
from .link import Linker, LinkState, Sighting, TrackState
from .register import motion as motion_core
from .register.fuse import crop_rois, fuse, prepare
from .register.motion import FieldMotion, Measured, MotionState, Moved
from .register.precision import mask_sigma
from .register.settings import RegisterSettings, auto_roi
from .results import FrameResult, ParticleResult, Status

Array = NDArray[np.float64]

_COAST_STEP_PX = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainState:
    """Motion, and the last ROI of each particle for the similarity of neighbours."""

    motion: MotionState
    rois: dict[int, Tensor]
    moments: dict[int, Array]
    misses: dict[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineState:
    """State of one sample, and of the run that is going on.

    Attributes
    ----------
    link : identities.
    provisional : motion as known at once; final : motion from final frames only. They meet
        whenever the final values have caught up with the newest frame.
    sightings : identities of the frames whose final values are still to come.
    roi : side of the published ROIs, px; 0 before the first frame of the run.
    """

    link: LinkState
    provisional: ChainState
    final: ChainState
    sightings: dict[int, tuple[Sighting, ...]]
    roi: int = 0


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Link and register one frame after the other; keeps no state of its own.

    Attributes
    ----------
    linker : gives identities.
    settings : of registration.
    device : where images are resampled.
    """

    linker: Linker
    settings: RegisterSettings
    device: torch.device

    def init(self) -> PipelineState:
        """State before the first frame of a sample."""
        chain = ChainState(motion=motion_core.init(), rois={}, moments={}, misses={})
        return PipelineState(link=self.linker.init(), provisional=chain, final=chain, sightings={})

    def start_run(self, state: PipelineState) -> PipelineState:
        """State at the start of a further run of the same sample."""
        caught_up = state.final.motion.frame >= state.provisional.motion.frame
        chain = _restart(state.final if caught_up else state.provisional)
        return PipelineState(
            link=self.linker.start_run(state.link),
            provisional=chain,
            final=chain,
            sightings={},
        )

    def update(
        self, state: PipelineState, corrected: Corrected, detections: Detections
    ) -> tuple[PipelineState, FrameResult]:
        """Advance by one frame, or by the final value of an earlier frame.

        Parameters
        ----------
        corrected : the frame as optical density; revision 0 is linked, a higher revision keeps
            the identities that revision 0 gave.
        detections : what the detector found in it.
        """
        if state.roi == 0:
            extents = (detections.bbox[:, 2:] - detections.bbox[:, :2]).max(axis=1, initial=0)
            state = replace(state, roi=auto_roi([float(e) for e in extents], self.settings))
        if corrected.revision == 0:
            return self._first(state, corrected, detections)
        return self._revise(state, corrected, detections)

    def _first(
        self, state: PipelineState, corrected: Corrected, detections: Detections
    ) -> tuple[PipelineState, FrameResult]:
        link, linked = self.linker.update(state.link, detections, corrected.od)
        chain, result = self._register(
            state.provisional, corrected, detections, linked.sightings, state.roi
        )
        state = replace(state, link=link, provisional=chain)
        if not corrected.final:
            waiting = {**state.sightings, corrected.frame: linked.sightings}
            return replace(state, sightings=waiting), result
        if state.sightings:  # earlier frames wait for their flat: the final chain cannot pass them
            final, _ = self._register(
                state.final, corrected, detections, linked.sightings, state.roi
            )
            return replace(state, final=final), result
        return replace(state, final=chain), result

    def _revise(
        self, state: PipelineState, corrected: Corrected, detections: Detections
    ) -> tuple[PipelineState, FrameResult]:
        before = state.sightings.get(corrected.frame, ())
        sightings = _identify(before, detections)
        chain, result = self._register(state.final, corrected, detections, sightings, state.roi)
        waiting = {k: v for k, v in state.sightings.items() if k != corrected.frame}
        caught_up = chain.motion.frame >= state.provisional.motion.frame
        return replace(
            state,
            final=chain,
            provisional=chain if caught_up else state.provisional,
            sightings=waiting,
        ), result

    def _register(
        self,
        chain: ChainState,
        corrected: Corrected,
        detections: Detections,
        sightings: tuple[Sighting, ...],
        roi: int,
    ) -> tuple[ChainState, FrameResult]:
        sigma = mask_sigma(
            detections.area,
            detections.contrast,
            detections.cut,
            noise=corrected.sigma,
            psf=self.settings.psf_px,
        )
        alive = [s for s in sightings if s.state not in (TrackState.LOST, TrackState.RETIRED)]
        misses = {s.particle: chain.misses.get(s.particle, 0) + 1 for s in alive if s.detection < 0}
        measured = tuple(_measured(s, detections, sigma, misses) for s in alive)
        after, field = motion_core.update(
            chain.motion, corrected.frame, corrected.time, measured, self.settings
        )
        image = prepare(corrected.od, corrected.valid, self.device)
        rois = crop_rois(image, np.array([m.yx for m in field.moved]).reshape(-1, 2), roi)
        likeness = self._likeness(chain, field, rois)
        moments = dict(chain.moments)
        for sighting in alive:
            if sighting.detection >= 0 and not (
                detections.cut[sighting.detection] and sighting.particle in moments
            ):
                moments[sighting.particle] = detections.moments[sighting.detection]
        aligned = fuse(image, field, moments).cpu().numpy()
        particles = _particles(sightings, field, corrected, detections, (rois, likeness))
        kept = {
            **{k: v for k, v in chain.rois.items() if k in after.particles},
            **{m.particle: rois[i] for i, m in enumerate(field.moved)},
        }
        state = ChainState(motion=after, rois=kept, moments=moments, misses=misses)
        return state, _frame_result(corrected, field, aligned, particles)

    def _likeness(self, chain: ChainState, field: FieldMotion, rois: Tensor) -> Array:
        values = np.full(len(field.moved), np.nan)
        rows = [
            i
            for i, m in enumerate(field.moved)
            if m.particle in chain.rois and chain.rois[m.particle].shape == rois.shape[1:]
        ]
        if rows:
            before = torch.stack([chain.rois[field.moved[i].particle] for i in rows])
            values[rows] = ssim(before, rois[rows], self.settings.ssim_range).cpu().numpy()
        return values


def _restart(chain: ChainState) -> ChainState:
    return replace(chain, motion=motion_core.start_run(chain.motion), rois={})


def _identify(before: tuple[Sighting, ...], detections: Detections) -> tuple[Sighting, ...]:
    """Give the detections of a final frame the identities that its provisional one had."""
    alive = [s for s in before if s.state not in (TrackState.LOST, TrackState.RETIRED)]
    if not alive or len(detections) == 0:
        return tuple(replace(s, detection=-1) for s in before)
    expected = np.array([s.yx for s in alive])
    distance = np.hypot(*(detections.yx[None] - expected[:, None]).transpose(2, 0, 1))
    gate = np.maximum(5.0, 0.25 * np.sqrt(detections.area))
    cost = np.where(distance <= gate[None], distance, 1e6)
    rows, columns = linear_sum_assignment(cost)
    found = {
        alive[r].particle: int(c) for r, c in zip(rows, columns, strict=True) if cost[r, c] < 1e6
    }
    return tuple(_as_found(s, found.get(s.particle, -1), detections) for s in before)


def _as_found(sighting: Sighting, detection: int, detections: Detections) -> Sighting:
    if sighting.state in (TrackState.LOST, TrackState.RETIRED):
        return sighting
    if detection < 0:
        state = TrackState.COASTING if sighting.state == TrackState.TRACKED else sighting.state
        return replace(sighting, detection=-1, state=state)
    state = TrackState.TRACKED if sighting.state == TrackState.COASTING else sighting.state
    return replace(sighting, detection=detection, state=state, yx=detections.yx[detection])


def _measured(
    sighting: Sighting, detections: Detections, sigma: Array, misses: dict[int, int]
) -> Measured:
    row = sighting.detection
    seen = row >= 0
    return Measured(
        particle=sighting.particle,
        yx=sighting.yx,
        sigma=float(sigma[row]) if seen else _COAST_STEP_PX * misses[sighting.particle] ** 0.5,
        seen=seen,
        cut=seen and bool(detections.cut[row]),
    )


def _particles(
    sightings: tuple[Sighting, ...],
    field: FieldMotion,
    corrected: Corrected,
    detections: Detections,
    views: tuple[Tensor, Array],
) -> tuple[ParticleResult, ...]:
    rois, likeness = views[0].cpu().numpy()[:, 0], views[1]
    moved = {m.particle: (i, m) for i, m in enumerate(field.moved)}
    means = _mean_od(corrected, detections)
    side = rois.shape[-1]
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
                velocity=motion.velocity,
                acceleration=motion.acceleration,
                path=motion.path,
                residual=motion.residual,
                area=float(detections.area[sighting.detection]) if seen else float("nan"),
                od_mean=float(means[sighting.detection]) if seen else float("nan"),
                ssim=float(likeness[index]) if index >= 0 else float("nan"),
                roi=rois[index] if index >= 0 else np.full((side, side), np.nan, np.float32),
            )
        )
    return tuple(rows)


def _ended(sighting: Sighting) -> Moved:
    """Lost and retired particles have a last expected place and no motion."""
    unknown = np.full(2, np.nan)
    return Moved(
        particle=sighting.particle,
        yx=sighting.yx,
        sigma=float("nan"),
        displacement=unknown,
        velocity=unknown,
        acceleration=unknown,
        path=float("nan"),
        residual=unknown,
        reference_yx=unknown,
    )


def _mean_od(corrected: Corrected, detections: Detections) -> Array:
    labels = np.where(corrected.valid, detections.labels, 0).ravel()
    size = len(detections) + 1
    count = np.bincount(labels, minlength=size)
    total = np.bincount(labels, weights=corrected.od.ravel(), minlength=size)
    return (total / np.maximum(count, 1))[1:]


def _frame_result(
    corrected: Corrected,
    field: FieldMotion,
    aligned: NDArray[np.float32],
    particles: tuple[ParticleResult, ...],
) -> FrameResult:
    seen = [p for p in particles if np.isfinite(p.area)]
    expected = [p for p in particles if p.state in (TrackState.TRACKED, TrackState.COASTING)]
    status, reason = Status.ALIGNED, ""
    if not seen:
        status, reason = Status.DEGRADED, "no_particles"
    elif 2 * len([p for p in expected if np.isfinite(p.area)]) < len(expected):
        status, reason = Status.DEGRADED, "few_particles"
    return FrameResult(
        key=corrected.key,
        frame=corrected.frame,
        energy=float("nan") if corrected.energy is None else corrected.energy,
        time=corrected.time,
        revision=corrected.revision,
        status=status,
        reason=reason,
        drift=field.drift,
        drift_sigma=field.sigma,
        strain=field.affine.strain,
        rotation=field.affine.rotation,
        aligned=aligned,
        particles=particles,
    )
