"""Correction of frames to optical density; raw images are kept until their value is final."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...streamer.config import Settings
from ...streamer.core import correct, quality
from ...streamer.core.frames import Frame, OpticalDensityFrame, Role
from ...streamer.core.quality import Verdict
from ...streamer.core.run import RevisionQueue, RunState
from ...streamer.errors import FrameError
from ...streamer.io.frame_store import FrameStore


class FrameCorrection:
    """Turns frames into optical density; the state of their run goes in and comes out.

    Parameters
    ----------
    settings : of the processor.
    store : for raw images; those that it has given up keep their provisional value.
    """

    def __init__(self, settings: Settings, store: FrameStore) -> None:
        self._settings = settings
        self._store = store

    def take(
        self, uid: str, run: RunState, frame: Frame
    ) -> tuple[RunState, Sequence[correct.Correction], Verdict]:
        """Take a frame of any role into account.

        Returns
        -------
        run : after it.
        due : corrections of sample frames, in the order in which they are to be analysed.
        verdict : why the frame cannot be used, if so.
        """
        sample = frame.role is Role.SAMPLE
        try:
            if sample:  # what is no picture at all would look blank
                correct.check_pixels(frame, self._settings.correct)
                arrival, good = quality.check_arrival(run.arrival, frame, self._settings.quality)
                run = replace(run, arrival=arrival)
                if not good:
                    return run, (), good
            corrector, corrections = correct.update(run.corrector, frame, self._settings.correct)
            if sample:
                self._store.put((uid, run.corrector.count), frame.image)
        except (FrameError, OSError) as error:
            reason = error.reason if isinstance(error, FrameError) else "no_space"
            return run, (), Verdict(reason, str(error))
        max_hold = self._settings.process.max_hold
        revisions, due = run.revisions.put(corrections, max_hold)
        return replace(run, corrector=corrector, revisions=revisions), due, quality.GOOD

    def finish(self, run: RunState) -> tuple[RunState, Sequence[correct.Correction]]:
        """Return the corrections that are left when a run has stopped."""
        corrector, corrections = correct.finish(run.corrector, self._settings.correct)
        revisions, due = run.revisions.put(corrections, self._settings.process.max_hold)
        run = replace(run, corrector=corrector, revisions=RevisionQueue())
        return run, [*due, *revisions.rest()]

    def apply(self, uid: str, correction: correct.Correction) -> OpticalDensityFrame | None:
        """Correct the image of a frame; None if it was given up for want of room."""
        key = uid, correction.frame
        try:
            image = self._store.get(key)
        except KeyError:
            return None
        frame = correct.apply(image, correction, self._settings.correct)
        if correction.final:
            self._store.drop(key)
        return frame
