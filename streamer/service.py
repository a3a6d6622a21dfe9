"""The service: documents from a source, through the processor, until told to stop."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from .frames import Document, NamedDocument
from .sources import Source

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
    """

    max_items: int = 32
    poll: float = 0.2


class Service:
    """Moves documents from a source to a processor.

    The loop is `step`, so that a test can turn it by hand, without threads.

    Parameters
    ----------
    source : where documents come from; opened and closed by the caller.
    processor : gets them, in order.
    settings : how many at a time.
    raw : is called with each raw document before the processor (a recorder), if given.
    """

    def __init__(
        self,
        source: Source,
        processor: Processor,
        settings: ServiceSettings | None = None,
        raw: Callable[[str, Document], object] | None = None,
    ) -> None:
        self._source = source
        self._processor = processor
        self._settings = settings or ServiceSettings()
        self._raw = raw

    def step(self) -> int:
        """Process what has queued up; wait for up to `poll` s if nothing has.

        Returns
        -------
        Documents processed.
        """
        received = self._source.drain(self._settings.max_items, self._settings.poll)
        documents = [(item.name, item.doc) for item in received]
        if self._raw is not None:
            for name, doc in documents:
                self._raw(name, doc)
        if documents:
            self._processor.process(documents)
        return len(documents)

    def run(self, stop: threading.Event, after_step: Callable[[], object] = lambda: None) -> int:
        """Step until the source is exhausted, or until `stop` is set and the queue is empty.

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
                self._source.close()  # no more comes in; what has queued up is still processed
            total += self.step()
            after_step()
        logger.info("processed %d documents", total)
        return total
