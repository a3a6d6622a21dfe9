"""Corrected frames and their detections in, registered particles out: link, then register."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from ....models.detector import Detections, Expected
from ....models.rim import RimStacks
from ..frames import DetectionMode, OpticalDensityFrame
from ..link import Linker, LinkResult, LinkState, Observation, TrackState
from ..register import motion as motion_core
from ..register.images import prepare
from ..register.motion import MotionState
from ..register.particle import UNKNOWN, PositionMeasurement
from ..register.places import PriorKnowledge, find_places
from ..register.settings import RegisterSettings, auto_roi
from ..results import FrameResult
from . import search
from .branch import Branch, FrameRecord, register

_ENDED = (TrackState.LOST, TrackState.RETIRED)


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
    record : inputs of the latest frame, kept for the second pass.
    """

    live: Branch
    final: Branch
    waiting: dict[int, tuple[Observation, ...]]
    roi: int = 0
    before: MotionState
    record: FrameRecord | None = None


class Pipeline:
    """Link and register one frame after the other.

    All state is given and returned; only the tensors of the latest templates are kept, to be used
    again in the next frame, until the next run begins.

    Parameters
    ----------
    linker : gives identities.
    settings : of registration.
    device : where images are resampled.
    """

    def __init__(self, linker: Linker, settings: RegisterSettings, device: torch.device) -> None:
        self._linker = linker
        self._settings = settings
        self._stacks = RimStacks(device)

    def init(self) -> PipelineState:
        """Return the state before the first frame of a sample."""
        branch = Branch(
            link=self._linker.init(),
            motion=motion_core.init(),
            rois={},
            moments={},
            misses={},
            templates={},
        )
        return PipelineState(live=branch, final=branch, waiting={}, before=branch.motion)

    def start_run(self, state: PipelineState) -> PipelineState:
        """Return the state at the start of a further run of the same sample."""
        self._stacks.clear()
        latest = self.latest(state)
        branch = replace(
            latest,
            link=replace(
                self._linker.start_run(latest.link),
                next_particle=self.next_particle(state),
            ),
            motion=motion_core.start_run(latest.motion),
            rois={},
        )
        return PipelineState(
            live=branch, final=branch, waiting={}, roi=state.roi, before=branch.motion
        )

    @staticmethod
    def latest(state: PipelineState) -> Branch:
        """Return the branch that knows all frames: the final one, if all its values have come."""
        caught_up = state.final.motion.frame >= state.live.motion.frame
        return state.final if caught_up and not state.waiting else state.live

    @staticmethod
    def next_particle(state: PipelineState) -> int:
        """Return the identity that the next birth gets."""
        return max(state.live.link.next_particle, state.final.link.next_particle)

    @staticmethod
    def can_coast(state: PipelineState, corrected: OpticalDensityFrame) -> bool:
        """Tell whether particles are known that could do without detection in a frame."""
        return search.can_coast(_continued(state, corrected).link)

    @staticmethod
    def expected(
        state: PipelineState, corrected: OpticalDensityFrame, every: int
    ) -> Expected | None:
        """Predict where particles are in a frame; None if all of it shall be searched.

        Parameters
        ----------
        every : frames from one search of a whole frame to the next.
        """
        branch = _continued(state, corrected)
        if corrected.frame <= branch.motion.frame:  # it comes too late to be the next
            return None
        return search.expected(branch.link, corrected, branch.unsearched, every)

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
            state = replace(state, roi=auto_roi([float(e) for e in extents], self._settings))
        if corrected.revision == 0:
            return self._first(state, corrected, detections)
        return self._revise(state, corrected, detections)

    def _first(
        self, state: PipelineState, corrected: OpticalDensityFrame, detections: Detections
    ) -> tuple[PipelineState, FrameResult]:
        live, identities, result, record = self._advance(state, state.live, corrected, detections)
        state = replace(state, live=live, record=record)
        if not corrected.final:
            waiting = {**state.waiting, corrected.frame: identities}
            return replace(state, waiting=waiting), result
        if state.waiting:  # other frames still wait for their flat: the branches stay apart
            final, _, _, record = self._advance(
                state, state.final, corrected, detections, identities
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
        state = replace(state, final=final, waiting=waiting)
        return replace(state, live=self.latest(state)), result

    def _advance(
        self,
        state: PipelineState,
        branch: Branch,
        corrected: OpticalDensityFrame,
        detections: Detections,
        claims: tuple[Observation, ...] = (),
    ) -> tuple[Branch, tuple[Observation, ...], FrameResult, FrameRecord]:
        """Link and register one frame along a branch."""
        settings = self._settings
        if corrected.blurred:
            settings = settings.model_copy(update={"refine": False})
        # no identity is given twice, whichever branch gave it
        before = replace(branch.link, next_particle=self.next_particle(state))
        if corrected.effort.mode == DetectionMode.COASTING:
            before = search.predict_shift(before, corrected)
        link, linked = self._linker.update(
            before, detections, corrected.od, claims, corrected.valid
        )
        image = prepare(corrected.od, corrected.valid, self._stacks.device)
        alive = [o for o in linked.observations if o.state not in _ENDED]
        known = PriorKnowledge(
            templates=branch.templates,
            misses={
                o.particle: branch.misses.get(o.particle, 0) + 1 for o in alive if o.detection < 0
            },
            whole=frozenset(p for p, m in branch.motion.particles.items() if m.whole),
            last=motion_core.last_places(branch.motion),
        )
        measured = find_places(
            image, corrected.sigma, linked.detections, alive, known, settings, self._stacks
        )
        link, linked = self._confirm(link, linked, measured)
        branch, result, record = register(
            replace(branch, link=link), corrected, linked, measured, image, state.roi, settings
        )
        return branch, linked.observations, result, record

    def _confirm(
        self, link: LinkState, linked: LinkResult, measured: tuple[PositionMeasurement, ...]
    ) -> tuple[LinkState, LinkResult]:
        """Keep particles that matched their templates although they were not detected."""
        found = {m.particle: m.yx for m in measured if m.seen and m.row < 0}
        if not found:
            return link, linked
        link = self._linker.confirm(link, found)
        kept = {t.particle for t in link.tracks if t.state == TrackState.TRACKED}
        observations = (
            replace(o, state=TrackState.TRACKED, yx=found[o.particle])
            if o.particle in found and o.particle in kept and o.state == TrackState.COASTING
            else o
            for o in linked.observations
        )
        return link, replace(linked, observations=tuple(observations))


def _continued(state: PipelineState, corrected: OpticalDensityFrame) -> Branch:
    """Choose the branch that a frame goes on with."""
    return state.live if corrected.revision == 0 else state.final


def _without_rates(result: FrameResult) -> FrameResult:
    particles = (replace(p, rates=UNKNOWN, path=float("nan")) for p in result.particles)
    return replace(result, particles=tuple(particles))
