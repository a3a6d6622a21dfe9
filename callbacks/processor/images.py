"""Reads the images that documents announce; those whose file is not there yet wait."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...streamer.core import assemble
from ...streamer.core.assemble.chunks import exposures, frames_from_chunk
from ...streamer.core.frames import Frame, FrameRef
from ...streamer.errors import AssetError, AssetLocked, AssetNotReady, FrameError
from ...streamer.io.assets import AssetStore
from ...streamer.io.assets.settings import AssetSettings
from .run import RawRun


class ImageReader:
    """Turns references into frames, in the order in which they were announced.

    Parameters
    ----------
    settings : of the files of the detector.
    frame : is called with every frame.
    reject : is called with what cannot be read, the reason as the ledger names it, and a message.
    """

    def __init__(
        self,
        settings: AssetSettings,
        frame: Callable[[RawRun, Frame], None],
        reject: Callable[[FrameRef | Frame, str, str], None],
    ) -> None:
        self._assets = AssetStore(settings)
        self._frame = frame
        self._reject = reject

    def take(self, run: RawRun, ref: FrameRef) -> None:
        """Read an image, or let it wait if it, or one before it, cannot be read yet."""
        run.output.received(ref.role)
        if run.later:  # frames are numbered and linked in their order: none may overtake
            run.later.append(ref)
            if _may_be_closed(run.later[0], ref):
                self._catch_up(run, last=False)
        elif not self._read(run, ref, last=False):
            run.later.append(ref)

    def end(self, run: RawRun) -> None:
        """Read what has had to wait, now that the run has stopped."""
        self._catch_up(run, last=True)

    def close_run(self, uid: str) -> None:
        """Close the files of a run."""
        self._assets.close_run(uid)

    def close(self) -> None:
        """Close all files."""
        self._assets.close()

    def _catch_up(self, run: RawRun, *, last: bool) -> None:
        """Read the images that had to wait, as far as that goes; at the stop, all of them."""
        reopened = ""
        while run.later:
            asset = run.later[0].asset
            if asset is not None and asset.resource != reopened:
                self._assets.reopen(asset.resource)
                reopened = asset.resource
            ref = run.later[0]
            try:
                if not self._read(run, ref, last=last):
                    return
            except Exception as error:  # noqa: BLE001 - it must not be in the way of others
                run.remarks.warn("images failed", f"image {ref.key.seq_num} failed", error)
                self._reject(ref, "internal_error", str(error))
            run.later.popleft()

    def _read(self, run: RawRun, ref: FrameRef, *, last: bool) -> bool:
        """Read and process an image; False if its file may still become readable."""
        try:
            pixels = ref.array if ref.asset is None else self._assets.read(ref.asset)
            frames = frames_from_chunk(ref, np.asarray(pixels))
        except (AssetNotReady, AssetLocked) as error:
            if not last:
                run.output.notice(error.reason)
                return False
            self._reject(ref, error.reason, str(error))
        except (AssetError, FrameError) as error:
            self._reject(ref, error.reason, str(error))
        else:
            _check_shape(run, ref, np.asarray(pixels))
            run.output.received(ref.role, len(frames) - 1)
            if ref.chunk == "mean" and frames[0].n_averaged < exposures(np.asarray(pixels)):
                run.output.notice("nan_exposure")
            for frame in frames:
                self._take(run, frame)
        return True

    def _take(self, run: RawRun, frame: Frame) -> None:
        """Process a frame; a fault of ours costs that one, not those of the chunk after it."""
        try:
            self._frame(run, frame)
        except Exception as error:  # noqa: BLE001 - it must not be in the way of others
            run.remarks.warn("images failed", f"image {frame.key.seq_num} failed", error)
            self._reject(frame, "internal_error", str(error))


def _may_be_closed(waiting: FrameRef, newer: FrameRef) -> bool:
    """Whether the detector has gone on to another file."""
    old, new = waiting.asset, newer.asset
    return old is not None and (new is None or new.resource != old.resource)


def _check_shape(run: RawRun, ref: FrameRef, pixels: np.ndarray) -> None:
    """Say once per run that a file holds other shapes than declared (not in-line)."""
    if ref.asset is None or "shape" in run.output.ledger.notices:
        return
    message = assemble.shape_mismatch(ref, pixels)
    if message is not None:
        run.remarks.warn("shapes", message)
        run.output.notice("shape")
