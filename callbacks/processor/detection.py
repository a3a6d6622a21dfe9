"""Detection of queued frames: in batches or one after the other, as well as it can be done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ...models.detector import Detections, Detector, IncrementalDetector, make_detector
from ...models.settings import DetectSettings
from ...models.threshold.detector import collect
from ...streamer.core.frames import (
    DetectionEffort,
    DetectionMode,
    NamedDocument,
    OpticalDensityFrame,
)
from ...streamer.core.pipeline import search
from ...streamer.core.pipeline.pipeline import Pipeline, PipelineState
from ...streamer.core.pipeline.search import QueueStatus
from ...streamer.core.results import FrameResult
from .run import RawRun

CLASSICAL = "threshold"
Queue = list[tuple[RawRun, OpticalDensityFrame | FrameResult]]
Frames = list[tuple[RawRun, OpticalDensityFrame]]
Looked = dict[int, tuple[DetectionEffort, Detections | None]]
"""How each frame was looked for, by its identity, and what was found; None if that failed."""
_BRING_FRAMES = frozenset({"event", "event_page", "stream_datum", "datum", "datum_page"})


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
        rungs = (DetectionMode.CLASSICAL, DetectionMode.COASTING)
        if self.detector.name != CLASSICAL:
            self._classical = make_detector(settings.model_copy(update={"kind": CLASSICAL}), device)
            rungs = (DetectionMode.NETWORKS, *rungs)
        self.ladder = search.init(rungs)
        self._follower: IncrementalDetector | None = None
        if isinstance(detector, IncrementalDetector) and settings.search_every > 1:
            self._follower = detector
        hurried = settings.deadline_s is not None  # what a frame costs is then told by its rung
        alone = device.type == "cpu" and self._follower is None and not hurried
        self._ahead = DetectionPrefetch(detector, device) if alone else None

    def close(self) -> None:
        """End what runs in the background."""
        if self._ahead is not None:
            self._ahead.close()

    def expect(self, frame: OpticalDensityFrame) -> None:
        """Be told of a frame that will be in the queue."""
        if self._ahead is not None:
            self._ahead.start(frame)

    def each(
        self, queue: Queue
    ) -> Iterator[tuple[RawRun, OpticalDensityFrame | FrameResult, Detections | None]]:
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
    ) -> Iterator[tuple[RawRun, OpticalDensityFrame | FrameResult, Detections | None]]:
        together = self._follower is None and self._ahead is None
        step = max(len(queue), 1) if together else 1
        for start in range(0, len(queue), step):
            part = queue[start : start + step]
            frames = [(run, item) for run, item in part if isinstance(item, OpticalDensityFrame)]
            looked, taken = self._look(frames, len(queue) - start)
            for run, item in part:
                if isinstance(item, FrameResult):
                    yield run, item, None
                    continue
                (effort, found), rung, cost = looked[id(item)], *taken[id(item)]
                begin = self._timer()
                yield run, replace(item, effort=effort), found
                self.ladder = search.timed(self.ladder, rung, cost + self._timer() - begin)

    def _look(
        self, frames: Frames, queued: int
    ) -> tuple[Looked, dict[int, tuple[DetectionMode, float]]]:
        """Choose a rung for each frame, and take those of one rung together.

        Returns
        -------
        What was found, and on which rung that was tried at what cost, s.
        """
        groups: dict[DetectionMode, Frames] = {}
        for run, frame in frames:
            groups.setdefault(self._choose(run, frame, queued), []).append((run, frame))
        looked: Looked = {}
        taken: dict[int, tuple[DetectionMode, float]] = {}
        for rung, group in groups.items():
            begin = self._timer()
            looked |= self._take(rung, group)
            cost = (self._timer() - begin) / len(group)
            taken |= {id(frame): (rung, cost) for _, frame in group}
        return looked, taken

    def _choose(self, run: RawRun, frame: OpticalDensityFrame, queued: int) -> DetectionMode:
        deadline, waited = self._settings.deadline_s, self.backlog.waited
        if deadline is None or waited is None:
            return self.ladder.modes[0]
        now = QueueStatus(
            deadline=deadline,
            spent=waited,
            queued=queued + self.backlog.to_come,
            known=Pipeline.can_coast(self._state(run), frame),
        )
        self.ladder, rung = search.update(self.ladder, now)
        return rung

    def _take(self, rung: DetectionMode, frames: Frames) -> Looked:
        if rung == DetectionMode.NETWORKS:
            return self._best(frames)
        why = "" if rung == self.ladder.modes[0] else "deadline"
        if rung == DetectionMode.CLASSICAL:
            return self._classically(frames, why)
        effort = DetectionEffort(rung, why, searched=False)
        return {id(frame): (effort, collect([], frame.od.shape)) for _, frame in frames}

    def _best(self, frames: Frames) -> Looked:
        """Look with the detector of the settings, and again with the classical one if need be."""
        looked = self._followed(frames)
        rest = [(run, frame) for run, frame in frames if id(frame) not in looked]
        found = self._detect(self.detector, rest)
        looked |= {
            key: (DetectionEffort(DetectionMode.NETWORKS), one) for key, one in found.items()
        }
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
        effort = DetectionEffort(DetectionMode.CLASSICAL, why)
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
        return found | detect(detector, self._device, rest)

    def _followed(self, frames: Frames) -> Looked:
        """Look at known particles only, in those frames in which that is enough."""
        looked: Looked = {}
        for run, frame in frames if self._follower is not None else ():
            found = self._follow(run, frame)
            if found is not None:
                looked[id(frame)] = (DetectionEffort(DetectionMode.NETWORKS, searched=False), found)
        return looked

    def _follow(self, run: RawRun, frame: OpticalDensityFrame) -> Detections | None:
        every = self._settings.search_every
        try:
            expected = Pipeline.expected(self._state(run), frame, every)
            if self._follower is None or expected is None:
                return None
            return self._follower.follow(*tensors([frame], self._device), expected)
        except Exception as error:  # noqa: BLE001 - the whole frame is searched instead
            what = f"the detector {self.detector.name} could not follow into frame {frame.frame}"
            run.remarks.warn(f"frames into which {self.detector.name} failed", what, error)
            return None


# Detection of frames that wait, while those before them are registered.


class DetectionPrefetch:
    """Runs a detector in a thread of its own, one frame after the other.

    Detection does not depend on other frames, so that it may run ahead of linking and
    registration, which do; torch lets go of the interpreter meanwhile. For a CPU: a GPU is better
    fed with batches.

    Parameters
    ----------
    detector : keeps no memory of earlier frames. device : where its tensors live.
    """

    def __init__(self, detector: Detector, device: torch.device) -> None:
        self._detector = detector
        self._device = device
        # with the frames: another one may get the identity of one that is gone
        self._found: dict[int, tuple[OpticalDensityFrame, Future[Detections]]] = {}
        # torch counts threads per thread; the others are left to registration
        self._thread = ThreadPoolExecutor(
            1, "detect-ahead", initializer=torch.set_num_threads, initargs=(1,)
        )

    def start(self, frame: OpticalDensityFrame) -> None:
        """Have a frame looked at as soon as those before it are done.

        Not if there is no thread: after `close`, while Python ends, or if none can be had.
        """
        try:
            found = self._thread.submit(self._detect, frame)
        except RuntimeError:  # who asks for it then looks at it himself
            return
        self._found[id(frame)] = frame, found

    def take(self, frame: OpticalDensityFrame) -> Detections | None:
        """What was found in a frame, once; None if it was not started. Waits until it is done.

        Raises
        ------
        Exception
            Whatever the detector raised.
        """
        started = self._found.pop(id(frame), None)
        return None if started is None else started[1].result()

    def forget(self) -> None:
        """Drop the frames that nobody has taken."""
        for _, found in self._found.values():
            found.cancel()
        self._found.clear()

    def close(self) -> None:
        """End the thread."""
        self._found.clear()
        self._thread.shutdown(cancel_futures=True)

    def _detect(self, frame: OpticalDensityFrame) -> Detections:
        (found,) = self._detector.detect(*tensors([frame], self._device))
        return found


# Detection of frames in batches.


def detect(
    detector: Detector, device: torch.device, frames: Iterable[tuple[RawRun, OpticalDensityFrame]]
) -> dict[int, Detections]:
    """Detections by the identity of the frame; frames of one shape go as one batch.

    Frames for which detection fails are left out, and their runs remark it.
    """
    groups: dict[tuple[int, ...], list[tuple[RawRun, OpticalDensityFrame]]] = {}
    for run, frame in frames:
        groups.setdefault(frame.od.shape, []).append((run, frame))
    found: dict[int, Detections] = {}
    for group in groups.values():
        if len(group) == 1:
            found.update(_alone(detector, device, *group[0]))
            continue
        try:
            found.update(_batch(detector, device, [frame for _, frame in group]))
        except Exception as error:  # noqa: BLE001 - out of memory, say: one by one
            what = f"the detector {detector.name} failed on a batch"
            group[0][0].remarks.warn(f"batches on which {detector.name} failed", what, error)
            for run, frame in group:
                found.update(_alone(detector, device, run, frame))
    return found


def tensors(frames: list[OpticalDensityFrame], device: torch.device) -> tuple[Tensor, Tensor]:
    """Optical density (B, 1, H, W) float32 and usable pixels (B, 1, H, W) bool on the device."""
    od = torch.from_numpy(np.stack([f.od for f in frames]))[:, None]
    valid = torch.from_numpy(np.stack([f.valid for f in frames]))[:, None]
    return od.to(device), valid.to(device)


def _alone(
    detector: Detector, device: torch.device, run: RawRun, frame: OpticalDensityFrame
) -> dict[int, Detections]:
    try:
        return _batch(detector, device, [frame])
    except Exception as error:  # noqa: BLE001 - the frame is accounted for as failed
        what = f"the detector {detector.name} failed on frame {frame.frame}"
        run.remarks.warn(f"frames on which {detector.name} failed", what, error)
        return {}


def _batch(
    detector: Detector, device: torch.device, frames: list[OpticalDensityFrame]
) -> dict[int, Detections]:
    detections = detector.detect(*tensors(frames, device))
    return dict(zip(map(id, frames), detections, strict=True))


# What has come in and waits, and for how long.


class Backlog:
    """Watches documents go by.

    Parameters
    ----------
    timer : gives the time, s, from any origin.
    """

    def __init__(self, timer: Callable[[], float]) -> None:
        self._timer = timer
        self._since: float | None = None
        self._to_come = 0

    def of(self, documents: Iterable[NamedDocument]) -> Iterator[NamedDocument]:
        """Yield documents that have come in now; how many remain is known of sequences only."""
        self._since = self._timer()
        known = documents if isinstance(documents, Sequence) else ()
        self._to_come = sum(name in _BRING_FRAMES for name, _ in known)
        for name, doc in documents:
            if name in _BRING_FRAMES:
                self._to_come = max(0, self._to_come - 1)
            yield name, doc

    @contextmanager
    def unhurried(self) -> Iterator[None]:
        """Nobody waits for what is done meanwhile, and it does not count for what comes after."""
        self._since = None
        try:
            yield
        finally:
            self._since = self._timer()

    @property
    def to_come(self) -> int:
        """Frames that the documents after the present one may bring."""
        return self._to_come

    @property
    def waited(self) -> float | None:
        """For how long the present documents have been in, s; None if nobody waits for them."""
        return None if self._since is None else self._timer() - self._since
