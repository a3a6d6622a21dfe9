"""Detection of queued frames: in batches or one after the other, as well as it can be done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ...models.detector import Detections, Detector, IncrementalDetector, make_detector
from ...models.settings import DetectSettings
from ...streamer.core.frames import (
    DetectionEffort,
    DetectionMode,
    OpticalDensityFrame,
)
from ...streamer.core.pipeline import search
from ...streamer.core.pipeline.pipeline import Pipeline, PipelineState
from ...streamer.core.pipeline.search import LadderState, QueueStatus
from .log import OncePerKindLogger

CLASSICAL = "threshold"
BRING_FRAMES = frozenset({"event", "event_page", "stream_datum", "datum", "datum_page"})


@dataclass(frozen=True, slots=True)
class QueuedFrame:
    """A frame whose particles are to be found.

    Attributes
    ----------
    run : uid of the raw run.
    received : sample frames announced when it was queued.
    prefetched : its detections, if they are made in advance.
    """

    run: str
    frame: OpticalDensityFrame
    received: int
    prefetched: Future[Detections] | None = None


@dataclass(frozen=True, slots=True)
class DetectedFrame:
    """A frame with its particles.

    Attributes
    ----------
    frame : with the effort that was made.
    detections : None if nothing could be detected for a fault.
    mode : that was tried. cost : of that, s.
    """

    frame: OpticalDensityFrame
    detections: Detections | None
    mode: DetectionMode
    cost: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Documents that have come in and wait.

    Attributes
    ----------
    since : time at which they came in, s; None if nobody waits for their results.
    to_come : frames that the documents after the present one may bring.
    """

    since: float | None = None
    to_come: int = 0


class Detection:
    """Finds the particles of frames in the best mode that works and is in time.

    A detector that fails, or doubts itself, is replaced by the classical one for that frame.

    Parameters
    ----------
    settings : of detection.
    device : where its tensors live.
    timer : gives the time, s, from any origin; matters only if there is a deadline.
    log : takes warnings about detectors that fail.

    Attributes
    ----------
    detector : that of the best mode.
    modes : those that there are, the best first.
    batched : frames are detected together: not if followed, or made in advance.
    """

    def __init__(
        self,
        settings: DetectSettings,
        device: torch.device,
        timer: Callable[[], float],
        log: OncePerKindLogger,
    ) -> None:
        self.detector = self._classical = detector = make_detector(settings, device)
        self._settings = settings
        self._device = device
        self._timer = timer
        self._log = log
        self.modes: tuple[DetectionMode, ...] = (DetectionMode.CLASSICAL, DetectionMode.COASTING)
        if detector.name != CLASSICAL:
            self._classical = make_detector(settings.model_copy(update={"kind": CLASSICAL}), device)
            self.modes = (DetectionMode.NETWORKS, *self.modes)
        self._follower: IncrementalDetector | None = None
        if isinstance(detector, IncrementalDetector) and settings.search_every > 1:
            self._follower = detector
        hurried = settings.deadline_s is not None  # what a frame costs must then show in its mode
        alone = device.type == "cpu" and self._follower is None and not hurried
        self._thread = DetectionPrefetch(detector, device) if alone else None
        self.batched = self._follower is None and self._thread is None

    def close(self) -> None:
        """End what runs in the background."""
        if self._thread is not None:
            self._thread.close()

    def prefetch(self, frame: OpticalDensityFrame) -> Future[Detections] | None:
        """Start to detect in a frame that is queued, where that is of use."""
        return None if self._thread is None else self._thread.start(frame)

    def detect(
        self,
        state: LadderState,
        frames: Sequence[QueuedFrame],
        known: Mapping[str, PipelineState],
        backlog: Backlog,
    ) -> tuple[LadderState, list[DetectedFrame]]:
        """Detect the particles of frames, those of one mode together.

        Parameters
        ----------
        state : costs of the modes.
        known : state of linking and registration before the first of the frames, by run.
        backlog : that the frames are part of, `to_come` counted from the first of them.
        """
        modes: list[DetectionMode] = []
        deadline, since = self._settings.deadline_s, backlog.since
        for queued in frames:
            mode = state.modes[0]
            if deadline is not None and since is not None:
                now = QueueStatus(
                    deadline=deadline,
                    spent=self._timer() - since,
                    queued=backlog.to_come,
                    known=Pipeline.can_coast(known[queued.run], queued.frame),
                )
                state, mode = search.update(state, now)
            modes.append(mode)
        found: dict[int, DetectedFrame] = {}
        for mode in dict.fromkeys(modes):
            group = [n for n, one in enumerate(modes) if one == mode]
            begin = self._timer()
            attempts = self._attempt(mode, [frames[n] for n in group], known, state.modes[0])
            cost = (self._timer() - begin) / len(group)
            for n, (effort, detections) in zip(group, attempts, strict=True):
                frame = replace(frames[n].frame, effort=effort)
                found[n] = DetectedFrame(frame, detections, mode, cost)
        return state, [found[n] for n in range(len(frames))]

    def _attempt(
        self,
        mode: DetectionMode,
        frames: list[QueuedFrame],
        known: Mapping[str, PipelineState],
        best: DetectionMode,
    ) -> list[tuple[DetectionEffort, Detections | None]]:
        if mode == DetectionMode.NETWORKS:
            return self._best(frames, known)
        why = "" if mode == best else "deadline"
        if mode == DetectionMode.CLASSICAL:
            effort = DetectionEffort(mode, why)
            return [(effort, found) for found in self._search(self._classical, frames)]
        effort = DetectionEffort(mode, why, searched=False)
        return [(effort, Detections.empty(queued.frame.od.shape)) for queued in frames]

    def _best(
        self, frames: list[QueuedFrame], known: Mapping[str, PipelineState]
    ) -> list[tuple[DetectionEffort, Detections | None]]:
        """Detect with the detector of the settings, and again with the classical one if need be."""
        followed = [self._follow(queued, known[queued.run]) for queued in frames]
        rest = [queued for queued, one in zip(frames, followed, strict=True) if one is None]
        searched = iter(self._search(self.detector, rest))
        found = [next(searched) if one is None else one for one in followed]
        doubts = ["failed" if one is None else one.doubt for one in found]
        doubtful = [queued for queued, doubt in zip(frames, doubts, strict=True) if doubt]
        again = iter(self._search(self._classical, doubtful))
        attempts: list[tuple[DetectionEffort, Detections | None]] = []
        for one, near, doubt in zip(found, followed, doubts, strict=True):
            if doubt:
                attempts.append((DetectionEffort(DetectionMode.CLASSICAL, doubt), next(again)))
            else:
                effort = DetectionEffort(DetectionMode.NETWORKS, searched=near is None)
                attempts.append((effort, one))
        return attempts

    def _follow(self, queued: QueuedFrame, known: PipelineState) -> Detections | None:
        """Look near known particles only; None if the whole frame must be searched."""
        if self._follower is None:
            return None
        frame = queued.frame
        try:
            expected = Pipeline.expected(known, frame, self._settings.search_every)
            if expected is None:
                return None
            return self._follower.follow(*tensors([frame], self._device), expected)
        except Exception as error:  # noqa: BLE001 - the whole frame is searched instead
            what = f"the detector {self.detector.name} could not follow into frame {frame.frame}"
            kind = f"frames into which {self.detector.name} failed"
            self._log.warn(queued.run, kind, what, error)
            return None

    def _search(self, detector: Detector, frames: list[QueuedFrame]) -> list[Detections | None]:
        """Search whole frames, those of one shape as one batch; None where that fails."""
        found: dict[int, Detections | None] = {}
        groups: dict[tuple[int, ...], list[int]] = {}
        for n, queued in enumerate(frames):
            if queued.prefetched is not None and detector is self.detector:
                try:
                    found[n] = queued.prefetched.result()
                    continue
                except Exception as error:  # noqa: BLE001 - it is tried again, alone
                    self._failed(detector, [queued], error, ", in advance")
            groups.setdefault(queued.frame.od.shape, []).append(n)
        for group in groups.values():
            batch = self._batch(detector, [frames[n] for n in group])
            found |= dict(zip(group, batch, strict=True))
        return [found[n] for n in range(len(frames))]

    def _batch(self, detector: Detector, frames: list[QueuedFrame]) -> list[Detections | None]:
        try:
            found = detector.detect(*tensors([q.frame for q in frames], self._device))
            return [one for one, _ in zip(found, frames, strict=True)]
        except Exception as error:  # noqa: BLE001 - out of memory, say: one by one
            self._failed(detector, frames, error)
        if len(frames) == 1:
            return [None]
        return [one for queued in frames for one in self._batch(detector, [queued])]

    def _failed(
        self, detector: Detector, frames: list[QueuedFrame], error: Exception, how: str = ""
    ) -> None:
        alone = len(frames) == 1
        where = f"frame {frames[0].frame.frame}{how}" if alone else "a batch"
        kind = f"{'frames' if alone else 'batches'} on which {detector.name} failed"
        self._log.warn(
            frames[0].run, kind, f"the detector {detector.name} failed on {where}", error
        )


class DetectionPrefetch:
    """Runs a detector in a thread of its own, one frame after the other.

    Detection does not depend on other frames, so that it may run ahead of linking and
    registration, which do; torch lets go of the interpreter meanwhile. For a CPU: a GPU is better
    fed with batches.

    Parameters
    ----------
    detector : keeps no memory of earlier frames.
    device : where its tensors live.
    """

    def __init__(self, detector: Detector, device: torch.device) -> None:
        self._detector = detector
        self._device = device
        # torch counts threads per thread; the others are left to registration
        self._thread = ThreadPoolExecutor(
            1, "detect-ahead", initializer=torch.set_num_threads, initargs=(1,)
        )

    def start(self, frame: OpticalDensityFrame) -> Future[Detections] | None:
        """Have a frame detected as soon as those before it are done.

        None if there is no thread: after `close`, while Python ends, or if none can be had. The
        frame is then detected when it is asked for.
        """
        try:
            return self._thread.submit(
                lambda: self._detector.detect(*tensors([frame], self._device))[0]
            )
        except RuntimeError:
            return None

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(cancel_futures=True)


def tensors(frames: list[OpticalDensityFrame], device: torch.device) -> tuple[Tensor, Tensor]:
    """Stack frames of one shape on the device.

    Returns
    -------
    od : (B, 1, H, W) float32, optical density.
    valid : (B, 1, H, W) bool, usable pixels.
    """
    od = torch.from_numpy(np.stack([f.od for f in frames]))[:, None]
    valid = torch.from_numpy(np.stack([f.valid for f in frames]))[:, None]
    return od.to(device), valid.to(device)
