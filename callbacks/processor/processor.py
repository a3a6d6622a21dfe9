"""The Bluesky callback that turns detector documents into result documents."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ...models.device import bounded_threads, resolve_device
from ...streamer.config import Settings, load_settings
from ...streamer.core import advice, assemble, correct, documents
from ...streamer.core.frames import Document, Frame, FrameRef, NamedDocument, Rejected, Role
from ...streamer.core.pipeline import search
from ...streamer.core.results import skipped
from ...streamer.core.run import ProcessorState, RunState, ScanMemory, moves_of, sample_name
from ...streamer.errors import ConfigError
from ...streamer.io.checkpoint import Blobs
from ...streamer.io.frame_store import FrameStore
from ...streamer.io.wire.queue import DROPPED
from ..subscribers import Callback, Subscribers
from .analysis import FrameAnalysis, QueuedResult, Step
from .detection import BRING_FRAMES, Backlog, QueuedFrame
from .images import FrameCorrection, ImageReader, ImageReading, file_may_be_closed
from .log import OncePerKindLogger

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
        self.settings = settings = config_or_profile
        self._clock, self._timer = clock, timer
        self._subscribers = Subscribers()
        self._log = OncePerKindLogger()
        process = settings.process
        memory, disk = int(process.raw_memory_mb * 1e6), int(process.raw_disk_gb * 1e9)
        self._raw = FrameStore(memory, disk)
        try:
            device = resolve_device(process.device)
            store = FrameStore(memory, disk)
            self._analysis = FrameAnalysis(settings, device, clock, timer, store, self._log)
        except (ValueError, ImportError, AttributeError) as error:
            raise ConfigError(f"these settings cannot be used: {error}") from error
        self._images = ImageReader(settings.assets)
        self._correction = FrameCorrection(settings, self._raw)
        modes = self._analysis.detection.modes
        self._state = ProcessorState(
            assembler=assemble.init(settings.assemble), ladder=search.init(modes)
        )
        self._backlog = Backlog()
        self._queue: list[QueuedFrame | QueuedResult] = []

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
        """Return how many result documents a subscriber failed to take, in all."""
        return self._subscribers.failures

    @property
    def strays(self) -> Mapping[str, int]:
        """Return how many documents belong to no run that is open, or to none at all, by kind."""
        return self._state.assembler.strays

    @property
    def config_sha256(self) -> str:
        """Return the hash of what makes results what they are: settings and weights."""
        return str(self._analysis.provenance["config_sha256"])

    @property
    def open_runs(self) -> frozenset[str]:
        """Return the uids of raw runs that have started and not stopped."""
        return frozenset((*self._state.runs, *self._state.starts))

    @property
    def known_streams(self) -> dict[str, assemble.Arrivals]:
        """Return the run of each known descriptor, and which of its events have come, by uid."""
        return assemble.known_streams(self._state.assembler)

    def __call__(self, name: str, doc: Document) -> None:
        """Process one document."""
        self.process([(name, doc)])

    def process(self, documents: Iterable[NamedDocument]) -> None:
        """Process what has queued up; the frames in it are detected as batches.

        The result does not depend on how documents are grouped, unless there is a deadline.
        """
        known = documents if isinstance(documents, Sequence) else ()
        to_come = sum(name in BRING_FRAMES for name, _ in known)
        self._backlog = Backlog(since=self._timer(), to_come=to_come)
        with bounded_threads(self.settings.process.thread_count):
            for name, doc in documents:
                to_come = max(0, self._backlog.to_come - (name in BRING_FRAMES))
                self._backlog = replace(self._backlog, to_come=to_come)
                if name == DROPPED:
                    self._handle_all(*assemble.count_dropped(self._state.assembler, doc))
                else:
                    self._handle_all(*assemble.update(self._state.assembler, name, doc))
                for uid, move in moves_of(self._state.assembler, name, doc):
                    run = self._state.runs.get(uid)
                    if run is not None:
                        output = replace(run.output, advice=advice.moved(run.output.advice, move))
                        self._state = self._state.with_run(uid, replace(run, output=output))
            self._flush()

    def snapshot(self, blobs: Blobs) -> ProcessorState:
        """Return the state between two calls of `process`, for a checkpoint.

        Parameters
        ----------
        blobs : takes images that have spilled to disk.
        """
        raw, scans = self._raw.snapshot(blobs), self._analysis.rescan.snapshot(blobs)
        return replace(self._state, raw=raw, scans=scans)

    def restore(self, state: ProcessorState, blobs: Blobs) -> None:
        """Go on from a snapshot; subscribers get the opening documents of open runs again.

        Parameters
        ----------
        state : of a processor with the same `config_sha256`.
        blobs : those that the snapshot was made with.
        """
        self._raw.restore(state.raw, blobs)
        self._analysis.rescan.restore(state.scans, blobs)
        self._state = replace(state, raw=(), scans=ScanMemory())
        for run in state.runs.values():
            self._send(run.output.opening)

    def suspend(self) -> None:
        """Release files and memory, and leave open runs as they are, to be gone on with."""
        for part in (self._analysis, self._images, self._raw):
            part.close()

    def close(self) -> None:
        """End runs that never got a stop document, and release files and memory."""
        for uid in [*self._state.runs, *self._state.starts]:
            self._handle_all(*assemble.end_run(self._state.assembler, uid))
        for uid in list(self._state.runs):
            self._stop(assemble.RunStopped(run=uid, stop=None))
        if self.strays:
            counts = ", ".join(f"{n} {kind}" for kind, n in self.strays.items())
            logger.warning("documents that belong to no open run: %s", counts)
        self.suspend()

    # What a document has brought.

    def _handle_all(
        self, assembler: assemble.AssemblerState, outputs: Iterable[assemble.Assembled]
    ) -> None:
        self._state = replace(self._state, assembler=assembler)
        for output in outputs:
            try:
                self._handle(output)
            except Exception:  # a fault of ours must not end the beamtime
                logger.exception("fault while handling %s", type(output).__name__)

    def _handle(self, output: assemble.Assembled) -> None:
        match output:
            case assemble.RunStarted():
                starts = {**self._state.starts, output.run: dict(output.start)}
                self._state = replace(self._state, starts=starts)
            case FrameRef():
                self._take_image(output)
            case Rejected():
                self._run(output.key.run)
                self._state = self._state.announce(output.key.run, output.role)
                self._reject(output, output.reason, output.message)
            case assemble.Declined():
                self._state = self._state.without_run(output.run)
                logger.info("run %s declined: %s", output.run, output.reason)
            case assemble.Notice():
                logger.warning("run %s: %s", output.run or "?", output.message)
            case assemble.Missing():
                run = self._run(output.run)
                self._state = self._state.with_run(
                    output.run, replace(run, missing=(*run.missing, output))
                )
            case assemble.RunStopped():
                self._stop(output)

    def _run(self, uid: str) -> RunState:
        """Return the run of an image; results begin with its first image."""
        if uid not in self._state.runs:
            start = self._state.starts.get(uid, {"uid": uid, "time": 0.0})
            output, opening = documents.open_run(start, self._analysis.provenance)
            sample = sample_name(start, self.settings.process.sample_key)
            self._state = self._state.without_run(uid)
            self._state = self._state.with_run(uid, RunState(sample=sample, output=output))
            self._send(opening)
        return self._state.runs[uid]

    # From images to the queue.

    def _take_image(self, ref: FrameRef) -> None:
        """Read an image, or let it wait if it, or one before it, cannot be read yet."""
        uid = ref.key.run
        self._run(uid)
        self._state = self._state.announce(uid, ref.role)
        run = self._state.runs[uid]
        unread = (*run.unread, ref)  # frames are numbered and linked in order: none may overtake
        self._state = self._state.with_run(uid, replace(run, unread=unread))
        if len(unread) == 1:
            self._take_reading(self._images.read(ref))
        elif file_may_be_closed(unread[0], ref):
            self._take_waiting(uid, last=False)

    def _take_waiting(self, uid: str, *, last: bool) -> None:
        """Read the images that had to wait, as far as that goes; at the stop, all of them."""
        for reading in self._images.read_again(self._run(uid).unread, last=last):
            self._take_reading(reading)

    def _take_reading(self, reading: ImageReading) -> None:
        uid, ref = reading.ref.key.run, reading.ref
        if reading.waits:
            self._state = self._state.note(uid, reading.reason)
            return
        run = self._run(uid)
        self._state = self._state.with_run(uid, replace(run, unread=run.unread[1:]))
        if reading.reason:
            if reading.fault is not None:
                what = f"image {ref.key.seq_num} failed"
                self._log.warn(uid, "images failed", what, reading.fault)
            self._reject(ref, reading.reason, reading.message)
            return
        if reading.mismatch and "shape" not in run.ledger.notices:
            self._log.warn(uid, "shapes", reading.mismatch)
            self._state = self._state.note(uid, "shape")
        self._state = self._state.announce(uid, ref.role, len(reading.frames) - 1)
        if reading.nan_exposure:
            self._state = self._state.note(uid, "nan_exposure")
        for frame in reading.frames:
            self._take_frame(uid, frame)

    def _take_frame(self, uid: str, frame: Frame) -> None:
        """Correct a frame; a fault of ours costs that one, not those of the chunk after it."""
        try:
            run, due, verdict = self._correction.take(uid, self._run(uid), frame)
            self._state = self._state.with_run(uid, run)
            if verdict:
                self._queue_corrected(uid, due)
            else:
                self._reject(frame, verdict.reason, verdict.message)
        except Exception as error:  # noqa: BLE001 - it must not be in the way of others
            self._log.warn(uid, "images failed", f"image {frame.key.seq_num} failed", error)
            self._reject(frame, "internal_error", str(error))

    def _reject(self, what: FrameRef | Rejected | Frame, reason: str, message: str) -> None:
        """Count an image that cannot be used; a sample frame has a result all the same."""
        uid = what.key.run
        line = f"{what.role} image {what.key.seq_num}: {message}"
        self._log.warn(uid, f"{what.role} images: {reason}", line)
        if what.role is not Role.SAMPLE:
            self._state = self._state.note(uid, f"{what.role}_{reason}")
            return
        run = self._run(uid)
        corrector, number = correct.skip(run.corrector)
        self._state = self._state.with_run(uid, replace(run, corrector=corrector))
        result = skipped(what.key, number, what.energy, what.time, reason)
        self._enqueue(QueuedResult(uid, result, run.ledger.received))

    def _queue_corrected(self, uid: str, corrections: Iterable[correct.Correction]) -> None:
        for correction in corrections:
            frame = self._correction.apply(uid, correction)
            if frame is None:  # the provisional value stays
                self._state = self._state.note(uid, "final_value_given_up")
                continue
            received = self._run(uid).ledger.received
            self._enqueue(
                QueuedFrame(uid, frame, received, self._analysis.detection.prefetch(frame))
            )

    def _enqueue(self, item: QueuedFrame | QueuedResult) -> None:
        self._queue.append(item)
        if len(self._queue) >= self.settings.process.max_batch:
            self._flush()

    def _flush(self) -> None:
        queue, self._queue = self._queue, []
        self._take_steps(self._analysis.analyse(self._state, queue, self._backlog))

    def _take_steps(self, steps: Iterable[Step]) -> None:
        """Send the documents of each step, and go on from the state after it."""
        for state, emitted in steps:
            self._state = state
            self._send(emitted)

    def _send(self, emitted: Iterable[NamedDocument]) -> None:
        for name, doc in emitted:
            self._subscribers.emit(name, doc)

    # The end of a run.

    def _stop(self, stopped: assemble.RunStopped) -> None:
        uid = stopped.run
        if uid not in self._state.runs:
            self._state = self._state.without_run(uid)
            return
        try:
            self._finish(uid)
        except Exception as error:  # noqa: BLE001 - the run must be closed all the same
            self._log.warn(uid, "stops failed", "not all of its frames could be finished", error)
        run = self._run(uid)
        self._state = self._state.without_run(uid)
        ledger = run.ledger.close()
        for kind, n in stopped.notices.items():
            ledger = ledger.note(kind, n)
        output, shape = run.with_ledger(ledger).output, run.corrector.shape
        now, settings = self._clock(), self.settings.advice
        self._send(documents.close_run(output, stopped.stop, shape, now, settings)[1])
        self._log.close_run(uid)
        self._raw.drop_run(uid)
        self._analysis.rescan.forget(uid)
        self._images.close_run(uid)
        if run.pipeline is not None:
            most = self.settings.process.max_samples
            samples = self._state.samples.remember(run.sample, run.pipeline, most)
            self._state = replace(self._state, samples=samples)

    def _finish(self, uid: str) -> None:
        """Give the frames of a run that has ended their last values."""
        self._backlog = replace(self._backlog, since=None)  # nobody waits for what is done now
        try:
            self._take_waiting(uid, last=True)
            run, due = self._correction.finish(self._run(uid))
            self._state = self._state.with_run(uid, run)
            self._queue_corrected(uid, due)
            self._flush()
            run = self._run(uid)
            ledger = run.ledger
            for item in run.missing:
                ledger = ledger.lose(item.role, item.count, item.reason)
            self._state = self._state.with_run(uid, run.with_ledger(ledger.close()))
            self._take_steps(self._analysis.revise(self._state, uid))
        finally:  # nor does it count for what comes after
            self._backlog = replace(self._backlog, since=self._timer())
