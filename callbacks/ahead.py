"""Detection of frames that wait, while those before them are registered."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import torch

from ..models.detections import Detections
from ..models.detector import Detector
from ..streamer.frames import Corrected
from . import batches


class Ahead:
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
        self._found: dict[int, tuple[Corrected, Future[Detections]]] = {}
        # torch counts threads per thread; the others are left to registration
        self._thread = ThreadPoolExecutor(
            1, "detect-ahead", initializer=torch.set_num_threads, initargs=(1,)
        )

    def start(self, frame: Corrected) -> None:
        """Have a frame looked at as soon as those before it are done.

        Not if there is no thread: after `close`, while Python ends, or if none can be had.
        """
        try:
            found = self._thread.submit(self._detect, frame)
        except RuntimeError:  # who asks for it then looks at it himself
            return
        self._found[id(frame)] = frame, found

    def take(self, frame: Corrected) -> Detections | None:
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

    def _detect(self, frame: Corrected) -> Detections:
        (found,) = self._detector.detect(*batches.tensors([frame], self._device))
        return found
