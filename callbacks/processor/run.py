"""A raw run that is going on, as the processor sees it."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Any

from ...models.detector import Detections
from ...streamer.config import Settings
from ...streamer.core import correct, quality
from ...streamer.core.assemble import Missing
from ...streamer.core.frames import Frame, FrameRef, OpticalDensityFrame
from ...streamer.core.pipeline.pipeline import PipelineState
from ...streamer.core.xanes import XanesState
from .output import RunOutput

_MOST_LOST = 1_000_000


def _lost(seen: set[int], told: int) -> int:
    """How many numbers are missing, leaving out those so large that they are no counts."""
    most = len(seen) + _MOST_LOST
    last = max((number for number in (*seen, told) if number <= most), default=0)
    return max(last - len(seen), 0)


class RawRun:
    """What is remembered of a raw run between its documents.

    Attributes
    ----------
    output : the result run. remarks : its warnings.
    sample : name under which identities are kept between runs.
    corrector : state of the correction. state : of the pipeline, None before the first frame.
    xanes : state of the spectra.
    later : images whose pixels could not be read yet and all that came after them, in order.
    missing : images that never came, known when the run ends.
    """

    def __init__(self, output: RunOutput, sample: str, remarks: OncePerKindLogger) -> None:
        self.output = output
        self.sample = sample
        self.remarks = remarks
        self.corrector = correct.init()
        self.state: PipelineState | None = None
        self.xanes = XanesState()
        self.later: deque[FrameRef] = deque()
        self.missing: tuple[Missing, ...] = ()
        self._arrival = quality.ArrivalState()
        self._sharpness = quality.SharpnessState()
        self._waiting: dict[int, None] = {}
        self._held: dict[int, correct.Correction] = {}

    def snapshot(self) -> dict[str, Any]:
        """All that is remembered, for a checkpoint; remarks only count lines of the log."""
        own = {k: v for k, v in vars(self).items() if k not in ("output", "remarks")}
        return {"output": self.output.snapshot(), "own": own}

    @classmethod
    def restored(
        cls, state: Mapping[str, Any], output: RunOutput, remarks: OncePerKindLogger
    ) -> RawRun:
        """Take back what `snapshot` told."""
        run = cls(output, state["own"]["sample"], remarks)
        vars(run).update(state["own"])
        return run

    def arrived(self, frame: Frame, settings: Settings) -> quality.Verdict:
        """Judge a sample frame before it is corrected."""
        try:  # what is no picture at all would look blank
            correct.check_pixels(frame, settings.correct)
        except correct.BadFrameError as error:
            return quality.Verdict(error.reason, str(error))
        self._arrival, verdict = quality.check_arrival(self._arrival, frame, settings.quality)
        return verdict

    def assess(
        self, frame: OpticalDensityFrame, detections: Detections, settings: quality.QualitySettings
    ) -> quality.Verdict:
        """Judge the sharpness of a frame."""
        self._sharpness, verdict = quality.assess(self._sharpness, frame, detections, settings)
        return verdict

    def in_order(
        self, corrections: Iterable[correct.Correction], max_hold: int
    ) -> list[correct.Correction]:
        """Hold final values back until those of all earlier frames have come.

        Motion is followed from frame to frame: a final value that overtakes an earlier one would
        make displacement and path run backwards. An earlier frame is waited for only while it is
        less than `max_hold` frames behind, so that one lost flat does not stop the live values.
        """
        ready = []
        for correction in corrections:
            if correction.revision == 0:
                if not correction.final:
                    self._waiting[correction.frame] = None
                ready.append(correction)
            else:
                self._held[correction.frame] = correction
                ready += self._release(max_hold)
        return ready

    def rest(self) -> list[correct.Correction]:
        """Give out what is still held, in frame order, as the run has stopped."""
        held, self._held = self._held, {}
        return [held[frame] for frame in sorted(held)]

    def _release(self, max_hold: int) -> list[correct.Correction]:
        ready = []
        while self._held:
            frame = min(self._held)
            if next(iter(self._waiting), frame) < frame:
                nearest = max(w for w in self._waiting if w < frame)
                if frame - nearest <= max_hold:
                    break
            ready.append(self._held.pop(frame))
            self._waiting.pop(frame, None)
        return ready


# Warnings about one run: each kind is told once, the rest is counted and told at the end.


class OncePerKindLogger:
    """Keeps a run with a thousand bad images from filling the log with a thousand lines.

    Parameters
    ----------
    logger : takes the lines.
    run : uid of the run, named in every line.
    """

    def __init__(self, logger: logging.Logger, run: str) -> None:
        self._logger = logger
        self._run = run
        self._seen: Counter[str] = Counter()

    def warn(self, kind: str, message: str, error: BaseException | None = None) -> None:
        """Log the first remark of a kind, count the others.

        Parameters
        ----------
        kind : what it is about, as the last line names it, e.g. ``sample images: missing_file``.
        message : the sentence for the log.
        error : a fault of ours; its traceback is logged too.
        """
        self._seen[kind] += 1
        if self._seen[kind] == 1:
            self._logger.warning("run %s: %s", self._run, message, exc_info=error)

    def close(self) -> None:
        """Tell what was counted."""
        for kind, count in self._seen.items():
            if count > 1:
                self._logger.warning("run %s: %d more %s", self._run, count - 1, kind)
        self._seen.clear()
