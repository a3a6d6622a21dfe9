"""The service: documents from a source, through the processor, until told to stop."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..core.frames import Document, NamedDocument
from ..errors import OperandoError
from ..io.sources import Source
from ..io.wire.losses import DROPPED
from ..io.wire.message import Received

logger = logging.getLogger(__name__)


class Processor(Protocol):
    """What the service needs of a processor."""

    def process(self, documents: Sequence[NamedDocument]) -> None:
        """Process documents that have queued up, as a batch."""
        ...

    def close(self) -> None:
        """End what is open."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """How the service takes documents.

    Attributes
    ----------
    max_items : most documents taken at once; they are detected as one batch.
    poll : longest wait for a document, s; bounds how long a stop takes.
    finish : whether a stop still processes what has queued up.
    """

    max_items: int = 32
    poll: float = 0.2
    finish: bool = True


class Service:
    """Moves documents from a source to a processor.

    The loop is `step`, so that a test can turn it by hand, without threads.

    Parameters
    ----------
    source : where documents come from; opened and closed by the caller.
    processor : gets them, in order.
    settings : how many at a time.
    raw : is called with each raw document and its time of arrival, s since the epoch, before the
        processor (a recorder), if given. If it fails, processing goes on.
    after : is called after each step, with nothing half done (checkpoints).
    """

    def __init__(
        self,
        source: Source,
        processor: Processor,
        settings: ServiceSettings | None = None,
        raw: Callable[[str, Document, float], object] | None = None,
        after: Callable[[], object] | None = None,
    ) -> None:
        self._source = source
        self._processor = processor
        self._settings = settings or ServiceSettings()
        self._raw = raw
        self._after = after
        self._unrecorded = 0

    def step(self) -> int:
        """Process what has queued up; wait for up to `poll` s if nothing has.

        Returns
        -------
        Documents processed.
        """
        received = self._source.drain(self._settings.max_items, self._settings.poll)
        documents = [named for item in received for named in (*item.lost, (item.name, item.doc))]
        for item in received:
            self._record(item)
        if documents:
            self._processor.process(documents)
        if self._after is not None:
            self._after()
        return len(documents)

    def run(self, stop: threading.Event, after_step: Callable[[], object] = lambda: None) -> int:
        """Step until the source is exhausted, or until `stop` is set (see `finish`).

        Parameters
        ----------
        after_step : is called after each step, to show progress.

        Returns
        -------
        Documents processed.
        """
        total = 0
        while not self._source.exhausted:
            if stop.is_set():
                self._source.close()  # no more comes in
                if not self._settings.finish:
                    break
            total += self.step()
            after_step()
        logger.info("processed %d documents", total)
        if self._unrecorded:
            logger.error("%d documents are missing in the recording", self._unrecorded)
        return total

    def _record(self, item: Received) -> None:
        if self._raw is None or item.name == DROPPED:
            return
        try:
            self._raw(item.name, item.doc, item.received_at)
        except OperandoError as error:  # a full disk costs the recording, not the results
            self._unrecorded += 1
            if self._unrecorded == 1:
                logger.error("cannot record a document: %s; processing goes on", error)  # noqa: TRY400
