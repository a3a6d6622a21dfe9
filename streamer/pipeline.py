"""Corrected frames and their detections in, registered particles out: link, then register."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..models.detections import Detections
from ..models.ssim import ssim
from .frames import Corrected
from .link import Linker, LinkState, Sighting, TrackState
from .register import motion as motion_core
from .register.background import picture
from .register.fuse import crop_rois, fuse, prepare
from .register.gauge import BACKGROUND
from .register.kinematics import UNKNOWN
from .register.motion import FieldMotion, Instant, Measured, MotionState, Moved
from .register.precision import mask_sigma
from .register.settings import RegisterSettings, auto_roi
from .results import FrameResult, ParticleResult, Status

Array = NDArray[np.float64]
T = TypeVar("T")

_COAST_STEP_PX = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """Identities and motion along one sequence of frames.

    Attributes
    ----------
    rois : last ROI of each particle (1, S, S), for the similarity of neighbours.
    moments : last central second moments of each particle's whole mask, px^2.
    misses : frames for which a particle has coasted.
    """

    link: LinkState
    motion: MotionState
    rois: dict[int, Tensor]
    moments: dict[int, Array]
    misses: dict[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineState:
    """State of one sample, and of the run that is going on.

    Attributes
    ----------
    live : what is known at once; final : from final frames only. They are the same whenever the
        final values have caught up with the newest frame.
    waiting : identities that frames whose final values are still to come had at first.
    roi : side of the published ROIs, px; 0 before the first frame of the run.
    """

    live: Branch
    final: Branch
    waiting: dict[int, tuple[Sighting, ...]]
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
        branch = Branch(
            link=self.linker.init(), motion=motion_core.init(), rois={}, moments={}, misses={}
        )
        return PipelineState(live=branch, final=branch, waiting={})

    def start_run(self, state: PipelineState) -> PipelineState:
        """State at the start of a further run of the same sample."""
        caught_up = not state.waiting and _caught_up(state.final, state.live)
        latest = state.final if caught_up else state.live
        branch = replace(
            latest,
            link=replace(
                self.linker.start_run(latest.link),
                next_particle=max(state.live.link.next_particle, state.final.link.next_particle),
            ),
            motion=motion_core.start_run(latest.motion),
            rois={},
        )
        return PipelineState(live=branch, final=branch, waiting={}, roi=state.roi)

    @staticmethod
    def next_particle(state: PipelineState) -> int:
        """Identity that the next birth gets."""
        return max(state.live.link.next_particle, state.final.link.next_particle)

    def update(
        self,
        state: PipelineState,
        corrected: Corrected,
        detections: Detections,
        next_particle: int = 0,
    ) -> tuple[PipelineState, FrameResult]:
        """Advance by one frame, or by the final value of an earlier frame.

        Parameters
        ----------
        corrected : the frame as optical density. Revision 0 continues what is known at once; a
            higher revision continues the final values, and a particle that begins there takes
            the identity that revision 0 of that frame gave it.
        detections : what the detector found in it.
        next_particle : identities below this are taken, by other runs of the sample.
        """
        link = state.live.link
        if next_particle > link.next_particle:
            live = replace(state.live, link=replace(link, next_particle=next_particle))
            state = replace(state, live=live)
        if state.roi == 0 and len(detections):
            extents = (detections.bbox[:, 2:] - detections.bbox[:, :2]).max(axis=1)
            state = replace(state, roi=auto_roi([float(e) for e in extents], self.settings))
        if corrected.revision == 0:
            return self._first(state, corrected, detections)
        return self._revise(state, corrected, detections)

    def _first(
        self, state: PipelineState, corrected: Corrected, detections: Detections
    ) -> tuple[PipelineState, FrameResult]:
        live, sightings, result = self._advance(state, state.live, corrected, detections)
        state = replace(state, live=live)
        if not corrected.final:
            waiting = {**state.waiting, corrected.frame: sightings}
            return replace(state, waiting=waiting), result
        if state.waiting:  # other frames still wait for their flat: the branches stay apart
            final, _, _ = self._advance(state, state.final, corrected, detections, sightings)
            return replace(state, final=final), result
        return replace(state, final=live), result

    def _revise(
        self, state: PipelineState, corrected: Corrected, detections: Detections
    ) -> tuple[PipelineState, FrameResult]:
        claims = state.waiting.get(corrected.frame, ())
        final, _, result = self._advance(state, state.final, corrected, detections, claims)
        waiting = {k: v for k, v in state.waiting.items() if k != corrected.frame}
        if corrected.frame < state.final.motion.frame:
            # too late to be part of the motion, which has gone on without it
            return replace(state, waiting=waiting), _without_rates(result)
        live = final if not waiting and _caught_up(final, state.live) else state.live
        return replace(state, final=final, live=live, waiting=waiting), result

    def _advance(
        self,
        state: PipelineState,
        branch: Branch,
        corrected: Corrected,
        detections: Detections,
        claims: tuple[Sighting, ...] = (),
    ) -> tuple[Branch, tuple[Sighting, ...], FrameResult]:
        """Link and register one frame along a branch."""
        # no identity is given twice, whichever branch gave it
        given = max(state.live.link.next_particle, state.final.link.next_particle)
        before = replace(branch.link, next_particle=given)
        link, linked = self.linker.update(
            before, detections, corrected.od, claims, corrected.valid
        )
        branch, result = self._register(
            replace(branch, link=link), corrected, linked.detections, linked.sightings, state.roi
        )
        return branch, linked.sightings, result

    def _register(
        self,
        branch: Branch,
        corrected: Corrected,
        detections: Detections,
        sightings: tuple[Sighting, ...],
        roi: int,
    ) -> tuple[Branch, FrameResult]:
        sigma = mask_sigma(
            detections.area,
            detections.contrast,
            detections.cut,
            noise=corrected.sigma,
            psf=self.settings.psf_px,
        )
        alive = [s for s in sightings if s.state not in (TrackState.LOST, TrackState.RETIRED)]
        misses = {
            s.particle: branch.misses.get(s.particle, 0) + 1 for s in alive if s.detection < 0
        }
        measured = tuple(_measured(s, detections, sigma, misses) for s in alive)
        motion, field = motion_core.update(
            branch.motion, _instant(corrected, measured, detections, self.settings), self.settings
        )
        image = prepare(corrected.od, corrected.valid, self.device)
        rois = crop_rois(image, np.array([m.yx for m in field.moved]).reshape(-1, 2), roi)
        likeness = self._likeness(branch, field, rois)
        moments = _moments(branch.moments, alive, detections)
        aligned = fuse(image, field, moments).cpu().numpy()
        particles = _particles(sightings, field, corrected, detections, (rois, likeness))
        # what has retired is forgotten: dust comes and goes for days
        living = {track.particle for track in branch.link.tracks}
        fresh = {m.particle: rois[i] for i, m in enumerate(field.moved)}
        after = Branch(
            link=branch.link,
            motion=replace(motion, particles=_only(living, motion.particles)),
            rois=_only(living, {**branch.rois, **fresh}),
            moments=_only(living, moments),
            misses=misses,
        )
        return after, _frame_result(corrected, field, aligned, particles)

    def _likeness(self, branch: Branch, field: FieldMotion, rois: Tensor) -> Array:
        values = np.full(len(field.moved), np.nan)
        rows = [
            i
            for i, m in enumerate(field.moved)
            if m.particle in branch.rois and branch.rois[m.particle].shape == rois.shape[1:]
        ]
        if rows:
            before = torch.stack([branch.rois[field.moved[i].particle] for i in rows])
            values[rows] = ssim(before, rois[rows], self.settings.ssim_range).cpu().numpy()
        return values


def _caught_up(final: Branch, live: Branch) -> bool:
    return final.motion.frame >= live.motion.frame


def _only(living: set[int], entries: dict[int, T]) -> dict[int, T]:
    return {particle: entry for particle, entry in entries.items() if particle in living}


def _without_rates(result: FrameResult) -> FrameResult:
    particles = (replace(p, rates=UNKNOWN, path=float("nan")) for p in result.particles)
    return replace(result, particles=tuple(particles))


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


def _measured(
    sighting: Sighting, detections: Detections, sigma: Array, misses: dict[int, int]
) -> Measured:
    row = sighting.detection
    seen = row >= 0
    return Measured(
        particle=sighting.particle,
        yx=sighting.yx,
        sigma=np.full(2, sigma[row] if seen else _COAST_STEP_PX * misses[sighting.particle] ** 0.5),
        seen=seen,
        cut=seen and bool(detections.cut[row]),
    )


def _instant(
    corrected: Corrected,
    measured: tuple[Measured, ...],
    detections: Detections,
    settings: RegisterSettings,
) -> Instant:
    behind = None
    if settings.gauge == BACKGROUND:
        behind = picture(corrected.od, corrected.valid, detections.labels)
    height, width = corrected.od.shape
    return Instant(
        frame=corrected.frame,
        time=corrected.time,
        energy=corrected.energy,
        shape=(height, width),
        measured=measured,
        picture=behind,
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
                rates=motion.rates,
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
        sigma=unknown,
        displacement=unknown,
        rates=UNKNOWN,
        path=float("nan"),
        residual=unknown,
        reference_yx=unknown,
    )


def _mean_od(corrected: Corrected, detections: Detections) -> Array:
    means = np.full(len(detections), np.nan)
    for row, (y0, x0, y1, x1) in enumerate(detections.bbox):
        window = (slice(y0, y1), slice(x0, x1))
        inside = (detections.labels[window] == row + 1) & corrected.valid[window]
        if inside.any():
            means[row] = corrected.od[window][inside].mean(dtype=np.float64)
    return means


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
        drift_sigma=float(np.sqrt(np.mean(field.sigma**2))),
        gauge=field.gauge,
        affine=field.affine,
        magnification=field.magnification,
        aligned=aligned,
        particles=particles,
    )
