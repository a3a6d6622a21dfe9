"""The result run of one raw run: what has been emitted, and the ledger."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

from ...models.detector import Detector
from ...streamer.config import Settings
from ...streamer.core import advice, documents
from ...streamer.core.assemble.values import number
from ...streamer.core.frames import Document, NamedDocument, Role
from ...streamer.core.results import FrameResult, Ledger
from ...streamer.core.xanes import XanesUpdate

_NOT_STATE = ("_emit", "_clock", "_advising")


def provenance(
    settings: Settings, device: str, detector: Detector, references_sha256: str = ""
) -> dict[str, Any]:
    """What made a result: the ``operando`` entry of its start document."""
    weights = getattr(detector, "weights_sha256", "")
    return {
        "version": version("operando"),
        "profile": settings.profile,
        "device": device,
        "detector": detector.name,
        "weights_sha256": weights,
        "registration": settings.registration.declared(),
        "references_sha256": references_sha256,
        "config_sha256": hashlib.sha256(
            (settings.sha256 + weights + references_sha256).encode()
        ).hexdigest(),
    }


class RunOutput:
    """Emits the documents of one result run.

    Parameters
    ----------
    start : start document of the raw run.
    provenance : see `provenance`.
    emit : is called with every document.
    clock : wall clock, s, for `latency`.
    advising : settings of the advice.
    """

    def __init__(
        self,
        start: Mapping[str, Any],
        provenance: Mapping[str, Any],
        emit: Callable[[str, Document], None],
        clock: Callable[[], float],
        advising: advice.AdviceSettings,
    ) -> None:
        self._emit = emit
        self._clock = clock
        self._advising = advising
        self._advice = advice.init()
        self._ledger = Ledger()
        self._opening: list[NamedDocument] = []
        self._waiting: list[tuple[FrameResult, dict[str, int]]] = []
        self._marks: deque[int] = deque()
        self._mark = 0
        self._time = number(start.get("time")) or 0.0
        raw = {**start, "time": self._time}
        self._run, opening = documents.start_document(raw, provenance)
        self._send(opening)
        self._shape: tuple[int, int] | None = None

    def snapshot(self) -> dict[str, Any]:
        """All that is remembered, for a checkpoint."""
        return {k: v for k, v in vars(self).items() if k not in _NOT_STATE}

    @classmethod
    def restored(
        cls,
        state: Mapping[str, Any],
        emit: Callable[[str, Document], None],
        clock: Callable[[], float],
        advising: advice.AdviceSettings,
    ) -> RunOutput:
        """Take back what `snapshot` told, and open the run again for those that listen now."""
        output = object.__new__(cls)
        vars(output).update(state, _emit=emit, _clock=clock, _advising=advising)
        for name, doc in output._opening:
            emit(name, doc)
        return output

    @property
    def ledger(self) -> Ledger:
        """The books so far."""
        return self._ledger

    def received(self, role: Role, n: int = 1) -> None:
        """Count announced images."""
        book = {Role.SAMPLE: "received", Role.FLAT: "flats", Role.DARK: "darks"}[role]
        self._ledger = self._ledger.count(**{book: n})

    def notice(self, kind: str, n: int = 1) -> None:
        """Count something odd that cost no frame."""
        self._ledger = self._ledger.reason("notices", kind, n)

    def expect(self) -> None:
        """Be told of a result that is to come, in the order in which `turn` is called."""
        self._marks.append(self._ledger.received)

    def turn(self) -> None:
        """Be told that the next of these results comes now.

        Its row tells what had been received when its documents came: not what came since, which
        depends on how many documents were taken at once.
        """
        self._mark = self._marks.popleft()

    def emit(self, result: FrameResult, roi: int = 0, told: XanesUpdate | None = None) -> None:
        """Emit a frame and its particles, and what it has told of their spectra.

        Skipped frames that come before the size of the images is known are held until it is.
        """
        self._ledger = self._ledger.book(result)
        books = self._ledger.live(self._mark)
        self._time = max(self._time, result.time)
        if self._shape is None and result.aligned is None:
            self._waiting.append((result, books))
            return
        if self._shape is None and result.aligned is not None:
            height, width = result.aligned.shape
            self._shape = (height, width)
            self._open("frames", self._shape, result.time)
        for item, its_books in self._waiting:
            self._frame(item, its_books, roi)
        self._waiting.clear()
        self._frame(result, books, roi, told)

    def tell(self, told: XanesUpdate) -> None:
        """Emit spectra and maps."""
        for row in told.spectra:
            if "spectra" not in self._run.descriptors:
                self._open("spectra", (0, 0), row.time)
            self._event("spectra", documents.spectrum_data(row), row.time)
        for item in told.maps:
            if "maps" not in self._run.descriptors:
                height, width = item.fraction.shape
                self._open("maps", (height, width), item.time)
            self._event("maps", documents.map_data(item), item.time)

    def lost(self, role: Role, n: int, reason: str) -> None:
        """Count images of which no document ever came."""
        if role is not Role.SAMPLE:
            self.notice(f"{role}_{reason}", n)
            return
        self._ledger = self._ledger.reason("dropped", reason, n).count(received=n)

    def settle(self) -> None:
        """Account for what has been received and will get no result any more.

        All rows that come after tell the books as they are now.
        """
        self._marks.clear()
        left = self._ledger.received - sum(self._ledger.accounted.values())
        if left > 0:
            self._ledger = self._ledger.reason("dropped", "lost_inside", left)
        self._mark = self._ledger.received

    def stop(self, raw: Mapping[str, Any] | None, shape: tuple[int, int] | None = None) -> None:
        """Close the result run with the ledger; `shape` of its images, if it is known."""
        if self._waiting:  # not one frame could be used; still each has its event
            self._shape = shape or (1, 1)
            self._open("frames", self._shape, self._waiting[0][0].time)
            for item, books in self._waiting:
                self._frame(item, books, 0)
            self._waiting.clear()
        told = number(raw.get("time")) if raw else None
        time = self._time if told is None else told
        self._send(
            documents.stop_document(
                self._run, dict(raw) if raw else None, self._ledger.as_dict(), time
            )
        )

    def _open(self, stream: str, image: tuple[int, int], time: float) -> None:
        self._run, document = documents.descriptor_document(self._run, stream, image, time)
        self._send(document)

    def _frame(
        self,
        result: FrameResult,
        books: Mapping[str, int],
        roi: int,
        told: XanesUpdate | None = None,
    ) -> None:
        if self._shape is None:
            raise AssertionError("a frame cannot be emitted before its descriptor")
        if result.particles and "particles" not in self._run.descriptors:
            self._open("particles", (roi, roi), result.time)
        for particle in result.particles:
            data = documents.particle_data(result, particle)
            self._event("particles", data, result.time)
        if told is not None:
            self.tell(told)
        # the frame comes last: who sees it may read all its particles
        latency = self._clock() - result.time
        data = documents.frame_data(result, self._shape, latency, books)
        self._event("frames", data, result.time)
        self._advise(result, latency)

    def moved(self, move: advice.StageMove) -> None:
        """Be told of a move of the stage that shifts the image."""
        self._advice = advice.moved(self._advice, move)

    def _advise(self, result: FrameResult, latency: float) -> None:
        shape = self._shape or (1, 1)
        self._advice, told = advice.update(self._advice, result, shape, latency, self._advising)
        for item in told:
            if "advice" not in self._run.descriptors:
                self._open("advice", shape, item.time)
            self._event("advice", advice.advice_data(item), item.time)

    def _event(self, stream: str, data: dict[str, Any], time: float) -> None:
        self._run, document = documents.event_document(self._run, stream, data, time)
        self._send(document)

    def _send(self, document: NamedDocument) -> None:
        if document[0] in ("start", "descriptor"):
            self._opening.append(document)
        self._emit(*document)
