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
from ..io.wire.message import Received
from ..io.wire.queue import DROPPED

logger = logging.getLogger(__name__)
_OPEN_RESULT_RUNS = 64  # bounds what is remembered of runs whose stop never comes; by eye


class Processor(Protocol):
    """Interface of a processor to the service."""

    def process(self, documents: Sequence[NamedDocument]) -> None:
        """Process documents that have queued up, as a batch."""
        ...

    def close(self) -> None:
        """End what is open."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """Settings of the service: how it takes documents.

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

    The loop is `step`, so that a test can turn it by hand, without threads. Result documents
    that come in are left out: see `OwnResults`.

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
        self._own = OwnResults()
        self._unrecorded = 0

    def step(self) -> int:
        """Process what has queued up; wait for up to `poll` s if nothing has.

        Returns
        -------
        Documents taken.
        """
        received = self._source.drain(self._settings.max_items, self._settings.poll)
        documents = [named for item in received for named in (*item.lost, (item.name, item.doc))]
        for item in received:
            self._record(item)
        raw = [named for named in documents if not self._own.contain(*named)]
        if raw:
            self._processor.process(raw)
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


class OwnResults:
    """Result runs of operando among the documents that come in, told from raw runs.

    They come in when the service listens to the proxy of its results, or publishes its results to
    the proxy of the beamline; processing them would make results of results without end.
    """

    def __init__(self) -> None:
        self._streams: dict[str, set[str]] = {}
        self._seen = False

    def contain(self, name: str, doc: Document) -> bool:
        """Return whether a document belongs to a result run; say so the first time."""
        if name == "start" and "operando" in doc and doc.get("purpose") == "processed":
            self._begin(str(doc.get("uid", "")))
            return True
        run = doc.get("run_start")
        if isinstance(run, str) and run in self._streams:
            if name == "descriptor":
                self._streams[run].add(str(doc.get("uid", "")))
            elif name == "stop":
                del self._streams[run]
            return True
        stream = doc.get("descriptor")
        return isinstance(stream, str) and any(stream in s for s in self._streams.values())

    def _begin(self, run: str) -> None:
        if len(self._streams) >= _OPEN_RESULT_RUNS:
            del self._streams[next(iter(self._streams))]
        self._streams[run] = set()
        if not self._seen:
            self._seen = True
            logger.error(
                "results of operando arrive where raw documents are expected, and are left out: "
                "listen to the proxy of the beamline (out side 5578 by convention) and publish "
                "results to one of their own (in side 5587, out side 5588)"
            )
