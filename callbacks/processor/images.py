"""Read the images that documents announce, and correct them to optical density.

Images whose file is not there yet wait; raw images are kept until their value is final.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...streamer.config import Settings
from ...streamer.core import assemble, correct, quality
from ...streamer.core.assemble.chunks import frames_from_chunk
from ...streamer.core.frames import Frame, FrameRef, OpticalDensityFrame, Role
from ...streamer.core.quality import Verdict
from ...streamer.core.run import RevisionQueue, RunState
from ...streamer.errors import AssetError, AssetLocked, AssetNotReady, FrameError
from ...streamer.io.assets import AssetStore
from ...streamer.io.assets.settings import AssetSettings
from ...streamer.io.frame_store import FrameStore


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReading:
    """Outcome of reading an announced image.

    Attributes
    ----------
    frames : that it holds; none if it cannot be read.
    nan_exposure : an exposure was left out of the mean.
    mismatch : what its shape is and was declared to be; empty if that is the same.
    reason : word of the ledger if it cannot be read, else empty.
    message : why it cannot be read.
    waits : its file may still become readable.
    fault : a fault of ours, by which it cannot be read.
    """

    ref: FrameRef
    frames: tuple[Frame, ...] = ()
    nan_exposure: bool = False
    mismatch: str = ""
    reason: str = ""
    message: str = ""
    waits: bool = False
    fault: Exception | None = None


class ImageReader:
    """Turns references into frames.

    Parameters
    ----------
    settings : of the files of the detector.
    """

    def __init__(self, settings: AssetSettings) -> None:
        self._assets = AssetStore(settings)

    def read(self, ref: FrameRef, *, last: bool = False) -> ImageReading:
        """Read an image.

        Parameters
        ----------
        last : it does not wait any longer, as its run has stopped.
        """
        try:
            pixels = np.asarray(ref.array if ref.asset is None else self._assets.read(ref.asset))
            frames = tuple(frames_from_chunk(ref, pixels))
        except (AssetError, FrameError) as error:
            waits = isinstance(error, AssetNotReady | AssetLocked) and not last
            return ImageReading(ref=ref, reason=error.reason, message=str(error), waits=waits)
        except Exception as error:  # noqa: BLE001 - it must not be in the way of others
            return ImageReading(ref=ref, reason="internal_error", message=str(error), fault=error)
        count = 1 if pixels.ndim == 2 else pixels.shape[-3]
        averaged = ref.chunk == "mean" and frames[0].n_averaged < count
        mismatch = None if ref.asset is None else assemble.shape_mismatch(ref, pixels)
        return ImageReading(ref=ref, frames=frames, nan_exposure=averaged, mismatch=mismatch or "")

    def read_again(self, refs: Sequence[FrameRef], *, last: bool) -> Iterator[ImageReading]:
        """Read images that had to wait, their files opened afresh; end with one that still waits.

        Parameters
        ----------
        refs : in the order in which they were announced.
        last : none waits any longer, as the run has stopped.
        """
        reopened = ""
        for ref in refs:
            if ref.asset is not None and ref.asset.resource != reopened:
                reopened = ref.asset.resource
                self._assets.reopen(reopened)
            reading = self.read(ref, last=last)
            yield reading
            if reading.waits:
                return

    def close_run(self, uid: str) -> None:
        """Close the files of a run."""
        self._assets.close_run(uid)

    def close(self) -> None:
        """Close all files."""
        self._assets.close()


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


def file_may_be_closed(waiting: FrameRef, newer: FrameRef) -> bool:
    """Return whether the detector has gone on to another file than that of an earlier image."""
    old, new = waiting.asset, newer.asset
    return old is not None and (new is None or new.resource != old.resource)
