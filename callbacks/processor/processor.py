"""The Bluesky callback that turns detector documents into result documents."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...models.detector import Detections
from ...models.device import bounded_threads, resolve_device
from ...models.threshold.detector import collect
from ...streamer.config import Settings, load_settings
from ...streamer.core import assemble, correct
from ...streamer.core.frames import (
    Document,
    Frame,
    FrameRef,
    NamedDocument,
    OpticalDensityFrame,
    Rejected,
    Role,
)
from ...streamer.core.link import make_linker
from ...streamer.core.pipeline.pipeline import Pipeline, PipelineState
from ...streamer.core.results import FrameResult, skipped
from ...streamer.errors import ConfigError, FrameError
from ...streamer.io.checkpoint import Blobs
from ...streamer.io.frame_store import FrameStore
from ...streamer.io.wire.losses import DROPPED
from ..subscribers import Callback, Subscribers
from .chemistry import Chemistry
from .detection import Detection
from .images import ImageReader
from .output import RunOutput, provenance
from .revision import Rescan, revise_run
from .run import OncePerKindLogger, RawRun
from .samples import Samples, tell_moves

logger = logging.getLogger(__name__)


class StreamProcessor:
    """Documents of a beamline in, result documents out.

    Has the interface of ``bluesky.callbacks.stream.LiveDispatcher``: call it with ``(name, doc)``,
    and `subscribe` what shall get the results. The same object runs under ``RE.subscribe``, behind
    0MQ and under replay.

    Parameters
    ----------
    config_or_profile : settings, the name or folder of a profile, or None for the defaults.
    clock : gives the wall clock, s since the epoch; used for `latency` only.
    timer : gives the time, s from any origin; used for ``detect.deadline_s`` only.

    Raises
    ------
    ConfigError
        If the settings cannot be used.
    """

    def __init__(
        self,
        config_or_profile: Settings | str | Path | None = None,
        *,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        if not isinstance(config_or_profile, Settings):
            config_or_profile = load_settings(config_or_profile)
        self.settings = config_or_profile
        self._subscribers = Subscribers()
        self._outlet = (self._subscribers.emit, clock, self.settings.advice)
        try:
            device = resolve_device(self.settings.process.device)
            self._detection = Detection(self.settings.detect, device, self._state, timer)
            linker = make_linker(self.settings.link)
        except (ValueError, ImportError, AttributeError) as error:
            raise ConfigError(f"these settings cannot be used: {error}") from error
        self._pipeline = Pipeline(linker, self.settings.registration, device)
        self._chemistry = Chemistry(self.settings.xanes)
        self._provenance = provenance(
            self.settings, str(device), self._detection.detector, self._chemistry.sha256
        )
        self._assembler = assemble.init(self.settings.assemble)
        self._images = ImageReader(self.settings.assets, self._frame, self._reject)
        process = self.settings.process
        self._raw = FrameStore(int(process.raw_memory_mb * 1e6), int(process.raw_disk_gb * 1e9))
        store = FrameStore(int(process.raw_memory_mb * 1e6), int(process.raw_disk_gb * 1e9))
        self._rescan = Rescan(self.settings.registration, device, store)
        self._runs: dict[str, RawRun] = {}
        self._starts: dict[str, Document] = {}
        self._samples = Samples(process.max_samples)
        self._queue: list[tuple[RawRun, OpticalDensityFrame | FrameResult]] = []

    def subscribe(self, func: Callback, name: str = "all") -> int:
        """Have `func(name, doc)` called with every result document, or those called `name`.

        Returns
        -------
        A token for `unsubscribe`.
        """
        return self._subscribers.add(func, name)

    def unsubscribe(self, token: int) -> None:
        """Stop calling the callback that has this token."""
        self._subscribers.remove(token)

    @property
    def subscriber_failures(self) -> int:
        """How many result documents a subscriber failed to take, in all."""
        return self._subscribers.failures

    @property
    def strays(self) -> Mapping[str, int]:
        """Documents that belong to no run that is open, or to none at all, by kind."""
        return self._assembler.strays

    def __call__(self, name: str, doc: Document) -> None:
        """Process one document."""
        self.process([(name, doc)])

    def process(self, documents: Iterable[NamedDocument]) -> None:
        """Process what has queued up; the frames in it are detected as batches.

        The result does not depend on how documents are grouped, unless there is a deadline.
        """
        with bounded_threads(self.settings.process.thread_count):
            for name, doc in self._detection.backlog.of(documents):
                if name == DROPPED:
                    self._assembler, outputs = assemble.count_dropped(self._assembler, doc)
                else:
                    self._assembler, outputs = assemble.update(self._assembler, name, doc)
                for output in outputs:
                    self._guarded(output)
                tell_moves(self._runs, self._assembler, name, doc)
            self._flush()

    @property
    def config_sha256(self) -> str:
        """What makes results what they are: settings and weights. Checkpoints are of one such."""
        return str(self._provenance["config_sha256"])

    @property
    def open_runs(self) -> frozenset[str]:
        """Uids of raw runs that have started and not stopped."""
        return frozenset((*self._runs, *self._starts))

    @property
    def known_streams(self) -> dict[str, assemble.Arrivals]:
        """Run of each descriptor that is known, and which of its events have come, by its uid."""
        return assemble.known_streams(self._assembler)

    def snapshot(self, blobs: Blobs) -> dict[str, Any]:
        """State between two calls of `process`, made of what `streamer.io.checkpoint` can encode.

        Parameters
        ----------
        blobs : takes images that have spilled to disk.
        """
        return {
            "assembler": self._assembler,
            "starts": self._starts,
            "samples": self._samples.snapshot(),
            "ladder": self._detection.ladder,
            "runs": {uid: run.snapshot() for uid, run in self._runs.items()},
            "raw": self._raw.snapshot(blobs),
            "rescan": self._rescan.snapshot(blobs),
        }

    def restore(self, state: Mapping[str, Any], blobs: Blobs) -> None:
        """Go on from a snapshot; subscribers get the opening documents of open runs again.

        Parameters
        ----------
        state : of a processor with the same `config_sha256`.
        blobs : those that the snapshot was made with.
        """
        self._assembler = state["assembler"]
        self._starts, self._detection.ladder = state["starts"], state["ladder"]
        self._samples.restore(state["samples"])
        for uid, known in state["runs"].items():
            output = RunOutput.restored(known["output"], *self._outlet)
            self._runs[uid] = RawRun.restored(known, output, OncePerKindLogger(logger, uid))
        self._raw.restore(state["raw"], blobs)
        self._rescan.restore(state["rescan"], blobs)

    def suspend(self) -> None:
        """Release files and memory, and leave open runs as they are, to be gone on with."""
        for part in (self._detection, self._images, self._raw, self._rescan):
            part.close()

    def close(self) -> None:
        """End runs that never got a stop document, and release files and memory."""
        for uid in [*self._runs, *self._starts]:
            self._assembler, outputs = assemble.end_run(self._assembler, uid)
            for output in outputs:
                self._guarded(output)
        for uid in list(self._runs):
            self._stop(assemble.RunStopped(run=uid, stop=None))
        if self.strays:
            told = ", ".join(f"{n} {kind}" for kind, n in self.strays.items())
            logger.warning("documents that belong to no open run: %s", told)
        self.suspend()

    def _guarded(self, output: assemble.Assembled) -> None:
        """Handle an output; a fault of ours costs one frame, not the beamtime."""
        try:
            self._handle(output)
        except Exception as error:
            if isinstance(output, FrameRef):
                run = self._run(output.key.run)
                run.remarks.warn("images failed", f"image {output.key.seq_num} failed", error)
                self._reject(output, "internal_error", str(error))
            else:
                logger.exception("fault while handling %s", type(output).__name__)

    def _handle(self, output: assemble.Assembled) -> None:
        match output:
            case assemble.RunStarted():
                self._starts[output.run] = dict(output.start)
            case FrameRef():
                self._images.take(self._run(output.key.run), output)
            case Rejected():
                self._reject(output, output.reason, output.message)
            case assemble.Declined():
                self._starts.pop(output.run, None)
                logger.info("run %s declined: %s", output.run, output.reason)
            case assemble.Notice():
                logger.warning("run %s: %s", output.run or "?", output.message)
            case assemble.Missing():
                run = self._run(output.run)
                run.missing = (*run.missing, output)
            case assemble.RunStopped():
                self._stop(output)

    def _run(self, uid: str) -> RawRun:
        """The run of an image; results begin with its first image."""
        if uid not in self._runs:
            start = self._starts.pop(uid, {"uid": uid, "time": 0.0})
            sample = Samples.name_of(start, self.settings.process.sample_key)
            output = RunOutput(start, self._provenance, *self._outlet)
            self._runs[uid] = RawRun(output, sample, OncePerKindLogger(logger, uid))
        return self._runs[uid]

    def _reject(self, what: FrameRef | Rejected | Frame, reason: str, message: str) -> None:
        run = self._run(what.key.run)
        remark = f"{what.role} image {what.key.seq_num}: {message}"
        run.remarks.warn(f"{what.role} images: {reason}", remark)
        if isinstance(what, Rejected):
            run.output.received(what.role)
        if what.role is not Role.SAMPLE:
            run.output.notice(f"{what.role}_{reason}")
            return
        run.corrector, number = correct.skip(run.corrector)
        self._enqueue(run, skipped(what.key, number, what.energy, what.time, reason))

    def _frame(self, run: RawRun, frame: Frame) -> None:
        if frame.role is Role.SAMPLE:
            verdict = run.arrived(frame, self.settings)
            if not verdict:
                self._reject(frame, verdict.reason, verdict.message)
                return
        number = run.corrector.count
        try:
            after, corrections = correct.update(run.corrector, frame, self.settings.correct)
            if frame.role is Role.SAMPLE:
                self._raw.put((frame.key.run, number), frame.image)
        except (FrameError, OSError) as error:
            reason = error.reason if isinstance(error, FrameError) else "no_space"
            self._reject(frame, reason, str(error))
            return
        run.corrector = after
        self._correct(run, run.in_order(corrections, self.settings.process.max_hold))

    def _correct(self, run: RawRun, corrections: Iterable[correct.Correction]) -> None:
        for correction in corrections:
            key = (correction.key.run, correction.frame)
            try:
                image = self._raw.get(key)
            except KeyError:  # given up for want of room: the provisional value stays
                run.output.notice("final_value_given_up")
                continue
            self._enqueue(run, correct.apply(image, correction, self.settings.correct))
            if correction.final:
                self._raw.drop(key)

    def _enqueue(self, run: RawRun, item: OpticalDensityFrame | FrameResult) -> None:
        self._queue.append((run, item))
        run.output.expect()
        if isinstance(item, OpticalDensityFrame):
            self._detection.expect(item)
        if len(self._queue) >= self.settings.process.max_batch:
            self._flush()

    def _flush(self) -> None:
        queue, self._queue = self._queue, []
        done = 0
        try:
            for run, item, detections in self._detection.each(queue):
                done += 1
                self._conclude(run, item, detections)
        except Exception as error:  # noqa: BLE001 - a fault of ours costs one frame
            for run, item in queue[done:]:
                run.remarks.warn("frames failed", "a frame could not be looked at", error)
                self._conclude(run, item, None)

    def _conclude(
        self, run: RawRun, item: OpticalDensityFrame | FrameResult, detections: Detections | None
    ) -> None:
        """Emit what became of a queued frame; if even that fails the ledger tells it as lost."""
        run.output.turn()
        try:
            if isinstance(item, FrameResult):
                run.output.emit(item)
            elif detections is None:
                self._failed(run, item)
            else:
                self._advance(run, item, detections)
        except Exception as error:  # noqa: BLE001 - the frames after it must have their turn
            run.remarks.warn("results failed", f"the result of frame {item.frame} failed", error)

    def _advance(self, run: RawRun, frame: OpticalDensityFrame, detections: Detections) -> None:
        state = self._state(run)
        given = self._samples.given(run.sample)
        try:
            verdict = run.assess(frame, detections, self.settings.quality)
            if not verdict:  # particles coast over a frame that tells nothing of their places
                run.remarks.warn("frames blurred", f"frame {frame.frame}: {verdict.message}")
                frame = replace(frame, blurred=True)
                detections = collect([], frame.od.shape)
            run.state, result = self._pipeline.update(state, frame, detections, given)
        except Exception as error:  # noqa: BLE001 - one odd frame must not end the service
            run.remarks.warn("frames failed", f"frame {frame.frame} failed", error)
            self._failed(run, frame)
            return
        self._samples.give(run.sample, self._pipeline.next_particle(run.state))
        run.output.emit(result, roi=run.state.roi, told=self._chemistry.update(run, result))
        try:
            self._rescan.keep(frame, run.state.record)
        except OSError as error:
            run.remarks.warn("frames not kept", f"frame {frame.frame} is not revised", error)

    def _failed(self, run: RawRun, frame: OpticalDensityFrame) -> None:
        """Account for a frame that we could not process."""
        if frame.revision > 0:  # its first value stands
            run.output.notice("revision_failed")
            return
        key, reason = frame.key, "internal_error"
        run.output.emit(skipped(key, frame.frame, frame.energy, frame.time, reason))

    def _state(self, run: RawRun) -> PipelineState:
        if run.state is None:
            first, again = self._pipeline.init, self._pipeline.start_run
            run.state = self._samples.begin(run.sample, first, again)
        return run.state

    def _stop(self, stopped: assemble.RunStopped) -> None:
        uid = stopped.run
        self._starts.pop(uid, None)
        run = self._runs.get(uid)
        if run is None:
            return
        try:
            self._finish(run, uid)
        except Exception as error:  # noqa: BLE001 - the run must be closed all the same
            run.remarks.warn("stops failed", "not all of its frames could be finished", error)
        del self._runs[uid]
        run.output.settle()
        for kind, n in stopped.notices.items():
            run.output.notice(kind, n)
        run.output.stop(stopped.stop, run.corrector.shape)
        run.remarks.close()
        self._raw.drop_run(uid)
        self._rescan.forget(uid)
        self._images.close_run(uid)
        if run.state is not None:
            self._samples.remember(run.sample, run.state)

    def _finish(self, run: RawRun, uid: str) -> None:
        """Give the frames of a run that has ended their last values."""
        with self._detection.backlog.unhurried():
            self._images.end(run)
            run.corrector, corrections = correct.finish(run.corrector, self.settings.correct)
            self._correct(run, run.in_order(corrections, self.settings.process.max_hold))
            self._correct(run, run.rest())
            self._flush()
            for item in run.missing:
                run.output.lost(item.role, item.count, item.reason)
            run.output.settle()
            revise_run(run, uid, self._rescan, self._chemistry)
