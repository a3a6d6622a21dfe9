"""Analysis of queued frames: detection, linking, registration, spectra, and their documents."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import torch

from ...models.detector import Detections, Detector
from ...streamer.config import Settings
from ...streamer.core import documents, quality, xanes
from ...streamer.core.frames import NamedDocument
from ...streamer.core.link import make_linker
from ...streamer.core.pipeline import search
from ...streamer.core.pipeline.pipeline import Pipeline, PipelineState
from ...streamer.core.results import FrameResult, skipped
from ...streamer.core.run import ProcessorState
from ...streamer.core.xanes import XanesUpdate
from ...streamer.io.frame_store import FrameStore
from ...streamer.io.reference_files import load_references
from .detection import Backlog, DetectedFrame, Detection, QueuedFrame
from .log import OncePerKindLogger
from .revision import Rescan

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class QueuedResult:
    """The result of a frame that needs no detection, in its place among those that do.

    Attributes
    ----------
    run : uid of the raw run.
    received : sample frames announced when it was queued.
    """

    run: str
    result: FrameResult
    received: int


Step = tuple[ProcessorState, tuple[NamedDocument, ...]]
"""The state after a step, and the result documents that it has brought."""


class FrameAnalysis:
    """Turns queued frames into result documents; the state goes in and comes out.

    Parameters
    ----------
    settings : of the processor.
    device : where images are analysed.
    clock : gives the wall clock, s since the epoch.
    timer : gives the time, s from any origin.
    store : for the frames of the second pass.
    log : takes warnings.

    Attributes
    ----------
    detection, rescan : how particles are detected, and the second pass.
    provenance : what makes a result: the ``operando`` entry of its start document.

    Raises
    ------
    ConfigError
        A reference of the spectra cannot be used.
    ValueError, ImportError, AttributeError
        There is no such detector or linker.
    """

    def __init__(
        self,
        settings: Settings,
        device: torch.device,
        clock: Callable[[], float],
        timer: Callable[[], float],
        store: FrameStore,
        log: OncePerKindLogger,
    ) -> None:
        references = load_references(settings.xanes)
        self.detection = Detection(settings.detect, device, timer, log)
        self.rescan = Rescan(settings.registration, device, store)
        self._pipeline = Pipeline(make_linker(settings.link), settings.registration, device)
        self._basis = xanes.make_basis(settings.xanes, references)
        self.provenance = _provenance(
            settings, device, self.detection.detector, xanes.digest(references)
        )
        self._settings = settings
        self._clock = clock
        self._timer = timer
        self._log = log

    def analyse(
        self,
        state: ProcessorState,
        queue: Sequence[QueuedFrame | QueuedResult],
        backlog: Backlog,
    ) -> Iterator[Step]:
        """Analyse the frames of a queue one after the other.

        Only detection takes several at once, where it does not depend on the frame before.
        """
        size = max(len(queue), 1) if self.detection.batched else 1
        for start in range(0, len(queue), size):
            batch = queue[start : start + size]
            frames = [item for item in batch if isinstance(item, QueuedFrame)]
            to_come = backlog.to_come + len(queue) - start
            state, detected = self._detect(state, frames, replace(backlog, to_come=to_come))
            found = iter(detected)
            for item in batch:
                if isinstance(item, QueuedResult):
                    step = self._emit(state, item.run, item.result, item.received)
                else:
                    step = self._conclude(state, item, next(found))
                state = step[0]
                yield step

    def revise(self, state: ProcessorState, uid: str) -> Iterator[Step]:
        """Revise all places of a run whose scan is over; values so far stand if that fails.

        Spectra and maps are emitted after the last revision, of all of them.
        """
        run = state.runs[uid]
        if run.pipeline is None:
            return
        revised, received = 0, run.ledger.received
        try:
            for pipeline, result in self.rescan.results(uid, run.pipeline):
                state = state.with_run(uid, replace(state.runs[uid], pipeline=pipeline))
                state, emitted = self._emit(state, uid, result, received)
                state = self._revise_spectra(state, uid, result)
                revised += 1
                yield state, emitted
        except Exception as error:  # noqa: BLE001 - the run must be closed all the same
            self._log.warn(uid, "second looks failed", "the places were not revised", error)
            state = state.note(uid, "whole_scan_failed")
        if revised:
            logger.info("run %s: %d frames revised in a second look at the scan", uid, revised)
        yield self._finish_spectra(state, uid)

    def close(self) -> None:
        """Release files, memory and threads."""
        self.detection.close()
        self.rescan.close()

    def _detect(
        self, state: ProcessorState, frames: list[QueuedFrame], backlog: Backlog
    ) -> tuple[ProcessorState, list[DetectedFrame | None]]:
        """Detect in frames; a fault of ours costs these, not those that are queued after them."""
        try:
            known: dict[str, PipelineState] = {}
            for uid in {item.run: None for item in frames}:
                run = state.runs[uid]
                first = run.pipeline
                if first is None:  # its sample may have been seen before
                    seen = state.samples.states.get(run.sample)
                    first = self._pipeline.start_run(seen) if seen else self._pipeline.init()
                    state = state.with_run(uid, replace(run, pipeline=first))
                known[uid] = first
            after, detected = self.detection.detect(state.ladder, frames, known, backlog)
        except Exception as error:  # noqa: BLE001 - a fault of ours costs one frame
            for item in frames:
                self._log.warn(item.run, "frames failed", "a frame could not be looked at", error)
            return state, [None] * len(frames)
        return replace(state, ladder=after), [*detected]

    def _conclude(
        self, state: ProcessorState, item: QueuedFrame, detected: DetectedFrame | None
    ) -> Step:
        """Analyse a frame and emit its result."""
        if detected is None:
            return self._fail(state, item)
        begin, uid, frame = self._timer(), item.run, detected.frame
        try:
            advanced = self._advance(state, uid, detected)
        except Exception as error:  # noqa: BLE001 - one odd frame must not end the service
            self._log.warn(uid, "frames failed", f"frame {frame.frame} failed", error)
            advanced = None
        if advanced is None:
            state, emitted = self._fail(state, item)
        else:
            state, rows = self._add_spectra(advanced[0], uid, advanced[1])
            state, emitted = self._emit(state, uid, advanced[1], item.received, rows)
            try:
                pipeline = state.runs[uid].pipeline
                self.rescan.keep(frame, pipeline and pipeline.record)
            except OSError as error:
                self._log.warn(uid, "frames not kept", f"frame {frame.frame} is not revised", error)
        cost = detected.cost + self._timer() - begin
        return replace(state, ladder=search.timed(state.ladder, detected.mode, cost)), emitted

    def _advance(
        self, state: ProcessorState, uid: str, detected: DetectedFrame
    ) -> tuple[ProcessorState, FrameResult] | None:
        """Link and register the particles of a frame; None if they could not be detected."""
        run, frame, detections = state.runs[uid], detected.frame, detected.detections
        if run.pipeline is None or detections is None:
            return None
        settings = self._settings.quality
        sharpness, verdict = quality.assess(run.sharpness, frame, detections, settings)
        if not verdict:  # particles coast over a frame that shows nothing of their places
            self._log.warn(uid, "frames blurred", f"frame {frame.frame}: {verdict.message}")
            frame = replace(frame, blurred=True)
            detections = Detections.empty(frame.od.shape)
        ids = state.samples.next_ids
        free = ids.get(run.sample, 0)
        pipeline, result = self._pipeline.update(run.pipeline, frame, detections, free)
        ids = {**ids, run.sample: self._pipeline.next_particle(pipeline)}
        state = replace(state, samples=replace(state.samples, next_ids=ids))
        return state.with_run(uid, replace(run, sharpness=sharpness, pipeline=pipeline)), result

    def _fail(self, state: ProcessorState, item: QueuedFrame) -> Step:
        """Account for a frame that we could not process."""
        frame = item.frame
        if frame.revision > 0:  # its first value stands
            return state.note(item.run, "revision_failed"), ()
        result = skipped(frame.key, frame.frame, frame.energy, frame.time, "internal_error")
        return self._emit(state, item.run, result, item.received)

    def _emit(
        self,
        state: ProcessorState,
        uid: str,
        result: FrameResult,
        received: int,
        rows: XanesUpdate | None = None,
    ) -> Step:
        """Make the documents of a frame; if even that fails the ledger counts it as lost."""
        run = state.runs[uid]
        roi = 0 if run.pipeline is None else run.pipeline.roi
        advising = self._settings.advice
        try:
            output, emitted = documents.frame_documents(
                run.output, result, received, self._clock(), advising, roi=roi, rows=rows
            )
        except Exception as error:  # noqa: BLE001 - the frames after it must have their turn
            what = f"the result of frame {result.frame} failed"
            self._log.warn(uid, "results failed", what, error)
            return state, ()
        return state.with_run(uid, replace(run, output=output)), emitted

    def _add_spectra(
        self, state: ProcessorState, uid: str, result: FrameResult
    ) -> tuple[ProcessorState, XanesUpdate]:
        """Add a frame, or a revision of one, to the spectra; a fault in them costs no frame."""
        run, settings = state.runs[uid], self._settings.xanes
        if not settings.enabled:
            return state, XanesUpdate()
        try:
            after, rows = xanes.update(run.xanes, result, self._basis, settings)
        except Exception as error:  # noqa: BLE001 - the frame and its particles are emitted
            what = f"frame {result.frame} is not in the spectra"
            return self._spectra_failed(state, uid, what, error), XanesUpdate()
        state = state.with_run(uid, replace(run, xanes=after))
        if after.full and not run.xanes.full:
            what = "xanes.memory_mb is used up: spectra and maps stop here"
            self._log.warn(uid, "xanes_memory_full", what)
            state = state.note(uid, "xanes_memory_full")
        return state, rows

    def _revise_spectra(
        self, state: ProcessorState, uid: str, result: FrameResult
    ) -> ProcessorState:
        run, settings = state.runs[uid], self._settings.xanes
        if not settings.enabled:
            return state
        try:
            after = xanes.revise(run.xanes, result, self._basis, settings)
        except Exception as error:  # noqa: BLE001 - what was added of the frame before stays
            what = f"frame {result.frame} is not revised in the spectra"
            return self._spectra_failed(state, uid, what, error)
        return state.with_run(uid, replace(run, xanes=after))

    def _finish_spectra(self, state: ProcessorState, uid: str) -> Step:
        run, settings = state.runs[uid], self._settings.xanes
        if not settings.enabled:
            return state, ()
        try:
            rows = xanes.finish(run.xanes, self._basis, settings)
            output, emitted = documents.spectrum_documents(run.output, rows)
        except Exception as error:  # noqa: BLE001 - the run must be closed all the same
            what = "its spectra and maps are those emitted last"
            return self._spectra_failed(state, uid, what, error), ()
        return state.with_run(uid, replace(run, output=output)), emitted

    def _spectra_failed(
        self, state: ProcessorState, uid: str, message: str, error: Exception
    ) -> ProcessorState:
        self._log.warn(uid, "spectra failed", message, error)
        return state.note(uid, "xanes_failed")


def _provenance(
    settings: Settings, device: torch.device, detector: Detector, references: str
) -> dict[str, Any]:
    weights = getattr(detector, "weights_sha256", "")
    made_of = f"{settings.sha256}{weights}{references}"
    return {
        "version": version("operando"),
        "profile": settings.profile,
        "device": str(device),
        "detector": detector.name,
        "weights_sha256": weights,
        "registration": settings.registration.declared(),
        "references_sha256": references,
        "config_sha256": hashlib.sha256(made_of.encode()).hexdigest(),
    }
