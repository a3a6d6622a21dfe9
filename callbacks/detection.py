"""Detection of queued frames: in batches or one after the other, as well as it can be done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from ..models.candidates import collect
from ..models.detections import Detections
from ..models.detector import Detector, IncrementalDetector, make_detector
from ..models.settings import DetectSettings
from ..streamer import ladder
from ..streamer.frames import Corrected
from ..streamer.ladder import Effort, Observation, Rung
from ..streamer.pipeline import Pipeline, PipelineState
from ..streamer.results import FrameResult
from . import batches
from .ahead import Ahead
from .backlog import Backlog
from .raw_run import RawRun

CLASSICAL = "threshold"
Queue = list[tuple[RawRun, Corrected | FrameResult]]


Frames = list[tuple[RawRun, Corrected]]
Looked = dict[int, tuple[Effort, Detections | None]]
"""How each frame was looked for, by its identity, and what was found; None if that failed."""


class Detection:
    """Finds the particles of frames on the best rung of the ladder that works and is in time.

    A detector that fails, or doubts itself, is replaced by the classical one for that frame.

    Parameters
    ----------
    settings : of detection.
    device : where its tensors live.
    state : gives the state of the pipeline after the last frame of a run.
    timer : gives the time, s, from any origin; matters only if there is a deadline.

    Attributes
    ----------
    detector : that of the best rung.
    backlog : of the documents from which the frames come.
    ladder : which rung is in use, and what each has cost lately.
    """

    def __init__(
        self,
        settings: DetectSettings,
        device: torch.device,
        state: Callable[[RawRun], PipelineState],
        timer: Callable[[], float],
    ) -> None:
        self.detector = detector = make_detector(settings, device)
        self.backlog = Backlog(timer)
        self._settings = settings
        self._device = device
        self._state = state
        self._timer = timer
        self._classical = self.detector
        rungs = (Rung.CLASSICAL, Rung.COASTING)
        if self.detector.name != CLASSICAL:
            self._classical = make_detector(settings.model_copy(update={"kind": CLASSICAL}), device)
            rungs = (Rung.NETWORKS, *rungs)
        self.ladder = ladder.init(rungs)
        self._follower: IncrementalDetector | None = None
        if isinstance(detector, IncrementalDetector) and settings.search_every > 1:
            self._follower = detector
        hurried = settings.deadline_s is not None  # what a frame costs is then told by its rung
        alone = device.type == "cpu" and self._follower is None and not hurried
        self._ahead = Ahead(detector, device) if alone else None

    def close(self) -> None:
        """End what runs in the background."""
        if self._ahead is not None:
            self._ahead.close()

    def expect(self, frame: Corrected) -> None:
        """Be told of a frame that will be in the queue."""
        if self._ahead is not None:
            self._ahead.start(frame)

    def each(
        self, queue: Queue
    ) -> Iterator[tuple[RawRun, Corrected | FrameResult, Detections | None]]:
        """Yield what is in the queue, in order: frames with their detections, None if that failed.

        Each must have been linked when the next is asked for: where particles are followed, they
        are looked for where the frame before has them.
        """
        try:
            yield from self._each(queue)
        finally:  # whatever has come in between: nobody else will ask for these
            if self._ahead is not None:
                self._ahead.forget()

    def _each(
        self, queue: Queue
    ) -> Iterator[tuple[RawRun, Corrected | FrameResult, Detections | None]]:
        together = self._follower is None and self._ahead is None
        step = max(len(queue), 1) if together else 1
        for start in range(0, len(queue), step):
            part = queue[start : start + step]
            frames = [(run, item) for run, item in part if isinstance(item, Corrected)]
            looked, taken = self._look(frames, len(queue) - start)
            for run, item in part:
                if isinstance(item, FrameResult):
                    yield run, item, None
                    continue
                (effort, found), rung, cost = looked[id(item)], *taken[id(item)]
                begin = self._timer()
                yield run, replace(item, effort=effort), found
                self.ladder = ladder.timed(self.ladder, rung, cost + self._timer() - begin)

    def _look(self, frames: Frames, queued: int) -> tuple[Looked, dict[int, tuple[Rung, float]]]:
        """Choose a rung for each frame, and take those of one rung together.

        Returns
        -------
        What was found, and on which rung that was tried at what cost, s.
        """
        groups: dict[Rung, Frames] = {}
        for run, frame in frames:
            groups.setdefault(self._choose(run, frame, queued), []).append((run, frame))
        looked: Looked = {}
        taken: dict[int, tuple[Rung, float]] = {}
        for rung, group in groups.items():
            begin = self._timer()
            looked |= self._take(rung, group)
            cost = (self._timer() - begin) / len(group)
            taken |= {id(frame): (rung, cost) for _, frame in group}
        return looked, taken

    def _choose(self, run: RawRun, frame: Corrected, queued: int) -> Rung:
        deadline, waited = self._settings.deadline_s, self.backlog.waited
        if deadline is None or waited is None:
            return self.ladder.rungs[0]
        now = Observation(
            deadline=deadline,
            spent=waited,
            queued=queued + self.backlog.to_come,
            known=Pipeline.can_coast(self._state(run), frame),
        )
        self.ladder, rung = ladder.update(self.ladder, now)
        return rung

    def _take(self, rung: Rung, frames: Frames) -> Looked:
        if rung == Rung.NETWORKS:
            return self._best(frames)
        why = "" if rung == self.ladder.rungs[0] else "deadline"
        if rung == Rung.CLASSICAL:
            return self._classically(frames, why)
        effort = Effort(rung, why, searched=False)
        return {id(frame): (effort, collect([], frame.od.shape)) for _, frame in frames}

    def _best(self, frames: Frames) -> Looked:
        """Look with the detector of the settings, and again with the classical one if need be."""
        looked = self._followed(frames)
        rest = [(run, frame) for run, frame in frames if id(frame) not in looked]
        found = self._detect(self.detector, rest)
        looked |= {key: (Effort(Rung.NETWORKS), one) for key, one in found.items()}
        again: dict[str, Frames] = {}
        for run, frame in frames:
            one = looked[id(frame)][1] if id(frame) in looked else None
            doubt = "failed" if one is None else one.doubt
            if doubt:
                again.setdefault(doubt, []).append((run, frame))
        for doubt, group in again.items():
            looked |= self._classically(group, doubt)
        return looked

    def _classically(self, frames: Frames, why: str) -> Looked:
        found = self._detect(self._classical, frames)
        effort = Effort(Rung.CLASSICAL, why)
        return {id(frame): (effort, found.get(id(frame))) for _, frame in frames}

    def _detect(self, detector: Detector, frames: Frames) -> dict[int, Detections]:
        """What a detector finds in each frame, or has found ahead, by identity."""
        found: dict[int, Detections] = {}
        ahead = self._ahead if detector is self.detector else None
        for run, frame in frames if ahead is not None else ():
            try:
                one = ahead.take(frame) if ahead is not None else None
            except Exception as error:  # noqa: BLE001 - it is tried again, alone
                what = f"the detector {detector.name} failed on frame {frame.frame}, in advance"
                run.remarks.warn(f"frames on which {detector.name} failed", what, error)
                continue
            if one is not None:
                found[id(frame)] = one
        rest = [(run, frame) for run, frame in frames if id(frame) not in found]
        return found | batches.detect(detector, self._device, rest)

    def _followed(self, frames: Frames) -> Looked:
        """Look at known particles only, in those frames in which that is enough."""
        looked: Looked = {}
        for run, frame in frames if self._follower is not None else ():
            found = self._follow(run, frame)
            if found is not None:
                looked[id(frame)] = (Effort(Rung.NETWORKS, searched=False), found)
        return looked

    def _follow(self, run: RawRun, frame: Corrected) -> Detections | None:
        every = self._settings.search_every
        try:
            expected = Pipeline.expected(self._state(run), frame, every)
            if self._follower is None or expected is None:
                return None
            return self._follower.follow(*batches.tensors([frame], self._device), expected)
        except Exception as error:  # noqa: BLE001 - the whole frame is searched instead
            what = f"the detector {self.detector.name} could not follow into frame {frame.frame}"
            run.remarks.warn(f"frames into which {self.detector.name} failed", what, error)
            return None
