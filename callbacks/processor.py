"""The Bluesky callback that turns detector documents into result documents."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..models.detections import Detections
from ..models.detector import make_detector
from ..models.device import resolve_device
from ..streamer import assemble, correct
from ..streamer.assemble.chunks import frames_from_chunk
from ..streamer.assets import AssetStore
from ..streamer.config import Settings, load_settings
from ..streamer.errors import AssetError, AssetLocked, AssetNotReady, ConfigError, FrameError
from ..streamer.frame_store import FrameStore
from ..streamer.frames import Corrected, Document, Frame, FrameRef, NamedDocument, Rejected, Role
from ..streamer.link import make_linker
from ..streamer.pipeline import Pipeline, PipelineState
from ..streamer.results import FrameResult, skipped
from .remarks import Remarks
from .run_output import RunOutput, provenance

logger = logging.getLogger(__name__)

Callback = Callable[[str, Document], Any]


class _Run:
    """A raw run that is going on: its corrector, its output, and frames to be read later."""

    def __init__(self, output: RunOutput, sample: str, remarks: Remarks) -> None:
        self.output = output
        self.remarks = remarks
        self.sample = sample
        self.corrector = correct.init()
        self.state: PipelineState | None = None
        self.later: list[FrameRef] = []


class StreamProcessor:
    """Documents of a beamline in, result documents out.

    Has the interface of ``bluesky.callbacks.stream.LiveDispatcher``: call it with ``(name, doc)``,
    and `subscribe` what shall get the results. The same object runs under ``RE.subscribe``, behind
    0MQ and under replay.

    Parameters
    ----------
    config_or_profile : settings, the name or folder of a profile, or None for the defaults.
    clock : gives the wall clock, s since the epoch; used for `latency` only.

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
    ) -> None:
        if not isinstance(config_or_profile, Settings):
            config_or_profile = load_settings(config_or_profile)
        self.settings = config_or_profile
        self._clock = clock
        try:
            device = resolve_device(self.settings.process.device)
            self._detector = make_detector(self.settings.detect, device)
            linker = make_linker(self.settings.link)
        except (ValueError, ImportError, AttributeError) as error:
            raise ConfigError(f"these settings cannot be used: {error}") from error
        self._device = device
        self._pipeline = Pipeline(linker, self.settings.registration, device)
        self._provenance = provenance(self.settings, str(device), self._detector)
        self._assembler = assemble.init(self.settings.assemble)
        self._assets = AssetStore(self.settings.assets)
        self._raw = FrameStore(int(self.settings.process.raw_memory_mb * 1e6))
        self._runs: dict[str, _Run] = {}
        self._starts: dict[str, Document] = {}
        self._samples: dict[str, PipelineState] = {}
        self._queue: list[tuple[_Run, Corrected | FrameResult]] = []
        self._callbacks: dict[int, tuple[Callback, str]] = {}
        self._tokens = count()
        self._failures: Counter[int] = Counter()

    def subscribe(self, func: Callback, name: str = "all") -> int:
        """Have `func(name, doc)` called with every result document, or those called `name`.

        Returns
        -------
        A token for `unsubscribe`.
        """
        token = next(self._tokens)
        self._callbacks[token] = (func, name)
        return token

    def unsubscribe(self, token: int) -> None:
        """Stop calling the callback that has this token."""
        self._callbacks.pop(token, None)

    @property
    def subscriber_failures(self) -> int:
        """How many result documents a subscriber failed to take, in all."""
        return self._failures.total()

    def __call__(self, name: str, doc: Document) -> None:
        """Process one document."""
        self.process([(name, doc)])

    def process(self, documents: Iterable[NamedDocument]) -> None:
        """Process what has queued up; the frames in it are detected as batches.

        The result does not depend on how documents are grouped.
        """
        for name, doc in documents:
            self._assembler, outputs = assemble.update(self._assembler, name, doc)
            for output in outputs:
                self._handle(output)
        self._flush()

    def close(self) -> None:
        """End runs that never got a stop document, and release files and memory."""
        for uid in list(self._runs):
            self._stop(uid, None)
        self._assets.close()
        self._raw.close()

    def _handle(self, output: assemble.Assembled) -> None:
        match output:
            case assemble.RunStarted():
                self._starts[output.run] = dict(output.start)
            case FrameRef():
                self._image(output)
            case Rejected():
                self._reject(output, output.reason, output.message)
            case assemble.Declined():
                self._starts.pop(output.run, None)
                logger.info("run %s declined: %s", output.run, output.reason)
            case assemble.Notice():
                self._notice(output)
            case assemble.RunStopped():
                self._stop(output.run, output.stop)

    def _notice(self, notice: assemble.Notice) -> None:
        logger.warning("run %s: %s", notice.run or "?", notice.message)
        run = self._runs.get(notice.run)
        if run is not None:
            run.output.notice(notice.kind)

    def _run(self, uid: str) -> _Run:
        """The run of an image; results begin with its first image."""
        if uid not in self._runs:
            start = self._starts.pop(uid, {"uid": uid, "time": 0.0})
            sample = start.get(self.settings.process.sample_key)
            name = str(sample) if sample else f"run {uid}"
            output = RunOutput(start, self._provenance, self._emit, self._clock)
            self._runs[uid] = _Run(output, name, Remarks(logger, uid))
        return self._runs[uid]

    def _image(self, ref: FrameRef, *, last: bool = False) -> None:
        run = self._run(ref.key.run)
        if not last:
            run.output.received(ref.role)
        try:
            pixels = ref.array if ref.asset is None else self._assets.read(ref.asset)
            frames = frames_from_chunk(ref, np.asarray(pixels))
        except (AssetNotReady, AssetLocked) as error:
            if last:
                self._reject(ref, error.reason, str(error))
            else:  # the file may be complete when the run has stopped
                run.later.append(ref)
                run.output.notice(error.reason)
        except (AssetError, FrameError) as error:
            self._reject(ref, error.reason, str(error))
        else:
            run.output.received(ref.role, len(frames) - 1)
            for frame in frames:
                self._frame(run, frame)

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

    def _frame(self, run: _Run, frame: Frame) -> None:
        try:
            run.corrector, corrections = correct.update(run.corrector, frame, self.settings.correct)
        except FrameError as error:
            self._reject(frame, error.reason, str(error))
            return
        if frame.role is Role.SAMPLE:
            self._raw.put(frame.key, frame.image)
        self._correct(run, corrections)

    def _correct(self, run: _Run, corrections: Iterable[correct.Correction]) -> None:
        for correction in corrections:
            image = self._raw.get(correction.key)
            self._enqueue(run, correct.apply(image, correction, self.settings.correct))
            if correction.final:
                self._raw.drop(correction.key)

    def _enqueue(self, run: _Run, item: Corrected | FrameResult) -> None:
        self._queue.append((run, item))
        if len(self._queue) >= self.settings.process.max_batch:
            self._flush()

    def _flush(self) -> None:
        queue, self._queue = self._queue, []
        detections = self._detect([item for _, item in queue if isinstance(item, Corrected)])
        for run, item in queue:
            if isinstance(item, FrameResult):
                run.output.emit(item)
                continue
            run.output.emit(*self._advance(run, item, detections[id(item)]))

    def _advance(
        self, run: _Run, frame: Corrected, detections: Detections
    ) -> tuple[FrameResult, int]:
        state = self._state(run)
        try:
            run.state, result = self._pipeline.update(state, frame, detections)
        except Exception as error:  # noqa: BLE001 - one odd frame must not end the service
            run.remarks.warn("frames failed", f"frame {frame.frame} failed", error)
            result = skipped(frame.key, frame.frame, frame.energy, frame.time, "internal_error")
            result = replace(result, revision=frame.revision)
            return result, state.roi
        return result, run.state.roi

    def _detect(self, frames: list[Corrected]) -> dict[int, Detections]:
        """Detections by the identity of the frame; frames of one shape go as one batch."""
        shapes = dict.fromkeys(frame.od.shape for frame in frames)
        found: dict[int, Detections] = {}
        for shape in shapes:
            group = [frame for frame in frames if frame.od.shape == shape]
            od = torch.from_numpy(np.stack([f.od for f in group]))[:, None].to(self._device)
            valid = torch.from_numpy(np.stack([f.valid for f in group]))[:, None]
            detections = self._detector.detect(od, valid.to(self._device))
            found.update(zip(map(id, group), detections, strict=True))
        return found

    def _state(self, run: _Run) -> PipelineState:
        if run.state is None:
            known = self._samples.get(run.sample)
            run.state = self._pipeline.init() if known is None else self._pipeline.start_run(known)
        return run.state

    def _stop(self, uid: str, stop: Document | Any | None) -> None:
        self._starts.pop(uid, None)
        run = self._runs.get(uid)
        if run is None:
            return
        for ref in run.later:
            if ref.asset is not None:
                self._assets.reopen(ref.asset.resource)
            self._image(ref, last=True)
        run.corrector, corrections = correct.finish(run.corrector, self.settings.correct)
        self._correct(run, corrections)
        self._flush()
        run.output.stop(stop)
        run.remarks.close()
        self._raw.drop_run(uid)
        self._assets.close_run(uid)
        del self._runs[uid]
        if run.state is not None:
            self._remember(run.sample, run.state)

    def _remember(self, sample: str, state: PipelineState) -> None:
        self._samples.pop(sample, None)
        self._samples[sample] = state
        while len(self._samples) > self.settings.process.max_samples:
            del self._samples[next(iter(self._samples))]

    def _emit(self, name: str, doc: Document) -> None:
        for token, (func, wanted) in list(self._callbacks.items()):
            if wanted not in ("all", name):
                continue
            try:
                func(name, doc)
            except Exception:
                self._failures[token] += 1
                if self._failures[token] == 1:
                    logger.exception(
                        "a subscriber of the results failed on a %s document; "
                        "further failures are counted, not logged",
                        name,
                    )
