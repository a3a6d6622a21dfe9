"""Corrected frames and their detections in, registered particles out: link, then register."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from ....models.arrays import Array
from ....models.detector import Detections, Expected
from ..frames import DetectionMode, OpticalDensityFrame
from ..link import Linker, Observation, TrackState
from ..register import motion as motion_core
from ..register.kinematics import UNKNOWN
from ..register.motion import MotionState
from ..register.settings import RegisterSettings, auto_roi
from ..results import FrameResult
from . import coasting
from .branch import Branch, Linked, locate, register
from .records import FrameRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineState:
    """State of one sample, and of the run that is going on.

    Attributes
    ----------
    live : what is known at once; final : from final frames only. They are the same whenever the
        final values have caught up with the newest frame.
    waiting : identities that frames whose final values are still to come had at first.
    roi : side of the published ROIs, px; 0 before the first frame of the run.
    before : motion when the run began.
    record : what is kept of the frame that was advanced through last.
    """

    live: Branch
    final: Branch
    waiting: dict[int, tuple[Observation, ...]]
    roi: int = 0
    before: MotionState
    record: FrameRecord | None = None


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
            link=self.linker.init(),
            motion=motion_core.init(),
            rois={},
            moments={},
            misses={},
            memories={},
        )
        return PipelineState(live=branch, final=branch, waiting={}, before=branch.motion)

    def start_run(self, state: PipelineState) -> PipelineState:
        """State at the start of a further run of the same sample."""
        latest = self.latest(state)
        branch = replace(
            latest,
            link=replace(
                self.linker.start_run(latest.link),
                next_particle=max(state.live.link.next_particle, state.final.link.next_particle),
            ),
            motion=motion_core.start_run(latest.motion),
            rois={},
        )
        return PipelineState(
            live=branch, final=branch, waiting={}, roi=state.roi, before=branch.motion
        )

    @staticmethod
    def latest(state: PipelineState) -> Branch:
        """The branch that knows all frames: that of the final values, if they have all come."""
        caught_up = not state.waiting and _caught_up(state.final, state.live)
        return state.final if caught_up else state.live

    @staticmethod
    def next_particle(state: PipelineState) -> int:
        """Identity that the next birth gets."""
        return max(state.live.link.next_particle, state.final.link.next_particle)

    @staticmethod
    def can_coast(state: PipelineState, corrected: OpticalDensityFrame) -> bool:
        """Whether particles are known that could do without detection in a frame."""
        return coasting.can_coast(_continued(state, corrected).link)

    @staticmethod
    def expected(
        state: PipelineState, corrected: OpticalDensityFrame, every: int
    ) -> Expected | None:
        """Where particles are expected in a frame; None if all of it shall be searched.

        Parameters
        ----------
        every : frames from one search of a whole frame to the next.
        """
        branch = _continued(state, corrected)
        if corrected.frame <= branch.motion.frame:  # it comes too late to be the next
            return None
        return coasting.expected(branch.link, corrected, branch.unsearched, every)

    def update(
        self,
        state: PipelineState,
        corrected: OpticalDensityFrame,
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
            sure = detections.bbox[detections.score >= 0.5 * detections.score.max()]
            extents = (sure[:, 2:] - sure[:, :2]).max(axis=1)
            state = replace(state, roi=auto_roi([float(e) for e in extents], self.settings))
        if corrected.revision == 0:
            return self._first(state, corrected, detections)
        return self._revise(state, corrected, detections)

    def _first(
        self, state: PipelineState, corrected: OpticalDensityFrame, detections: Detections
    ) -> tuple[PipelineState, FrameResult]:
        live, sightings, result, record = self._advance(state, state.live, corrected, detections)
        state = replace(state, live=live, record=record)
        if not corrected.final:
            waiting = {**state.waiting, corrected.frame: sightings}
            return replace(state, waiting=waiting), result
        if state.waiting:  # other frames still wait for their flat: the branches stay apart
            final, _, _, record = self._advance(
                state, state.final, corrected, detections, sightings
            )
            return replace(state, final=final, record=record), result
        return replace(state, final=live), result

    def _revise(
        self, state: PipelineState, corrected: OpticalDensityFrame, detections: Detections
    ) -> tuple[PipelineState, FrameResult]:
        claims = state.waiting.get(corrected.frame, ())
        final, _, result, record = self._advance(state, state.final, corrected, detections, claims)
        state = replace(state, record=record)
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
        corrected: OpticalDensityFrame,
        detections: Detections,
        claims: tuple[Observation, ...] = (),
    ) -> tuple[Branch, tuple[Observation, ...], FrameResult, FrameRecord]:
        """Link and register one frame along a branch."""
        # no identity is given twice, whichever branch gave it
        given = max(state.live.link.next_particle, state.final.link.next_particle)
        before = replace(branch.link, next_particle=given)
        if corrected.effort.rung == DetectionMode.COASTING:
            before = coasting.predict_shift(before, corrected)
        link, linked = self.linker.update(before, detections, corrected.od, claims, corrected.valid)
        frame = Linked(
            corrected=corrected, detections=linked.detections, sightings=linked.sightings
        )
        settings = _blind(self.settings) if corrected.blurred else self.settings
        image, places = locate(branch, frame, self.device, settings)
        link = self.linker.confirm(link, places.confirmed)
        kept = {t.particle for t in link.tracks if t.state == TrackState.TRACKED}
        told = {p: yx for p, yx in places.confirmed.items() if p in kept}
        frame = replace(frame, sightings=_told(linked.sightings, told))
        branch, result, record = register(
            replace(branch, link=link), frame, image, places, state.roi, settings
        )
        return branch, frame.sightings, result, record


def _continued(state: PipelineState, corrected: OpticalDensityFrame) -> Branch:
    """The branch that a frame goes on with."""
    return state.live if corrected.revision == 0 else state.final


def _blind(settings: RegisterSettings) -> RegisterSettings:
    return settings.model_copy(update={"refine": False})


def _caught_up(final: Branch, live: Branch) -> bool:
    return final.motion.frame >= live.motion.frame


def _without_rates(result: FrameResult) -> FrameResult:
    particles = (replace(p, rates=UNKNOWN, path=float("nan")) for p in result.particles)
    return replace(result, particles=tuple(particles))


def _told(
    sightings: tuple[Observation, ...], confirmed: dict[int, Array]
) -> tuple[Observation, ...]:
    """Sightings, those that a template found being tracked although they were not detected."""
    return tuple(
        replace(s, state=TrackState.TRACKED, yx=confirmed[s.particle])
        if s.particle in confirmed and s.state == TrackState.COASTING
        else s
        for s in sightings
    )
