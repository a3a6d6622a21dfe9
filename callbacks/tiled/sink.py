"""Result documents into Tiled, live.

Layout::

    <result uid>            specs BlueskyRun 3.0, OperandoRun 1.0; metadata start, stop
      <stream>              specs OperandoStream 1.0, BlueskyEventStream 3.0, composite
        rows                float64 (events, columns), while the run goes on and after
        <array key>         (events, ...) one image per event, e.g. aligned, roi
        preview             uint8, the newest aligned image, small
        preview_unaligned   uint8, the same before its motion was taken out
        internal            Parquet table of all scalars, once the run has stopped

Everything is addressed by ``seq_num``, so that repeating a run repeats nothing on the server.
Requests are sent in rounds: at once when nothing was sent lately, and spaced out under load so
that they take no more than a given share of the time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import httpx
from event_model import unpack_event_page

from ...streamer.core.streams import Streams
from ...streamer.errors import SinkError
from ...streamer.io.tiled.connection import TiledConnection
from ...streamer.io.tiled.settings import TiledSettings
from .images import FrameRoute
from .run import RunWriter

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TiledCounts:
    """What a Tiled sink has done so far.

    Attributes
    ----------
    documents : documents taken.
    orphans : events and stops of runs that the sink never saw start.
    rounds : rounds of requests that went through.
    errors : rounds that failed and were kept for later.
    images_dropped : images given up because they could not be written in time.
    images_refused : images of another shape than their descriptor declares.
    pending : rows, images and closing steps still to do.
    last_error : text of the newest error, "" if there was none.
    """

    documents: int = 0
    orphans: int = 0
    rounds: int = 0
    errors: int = 0
    images_dropped: int = 0
    images_refused: int = 0
    pending: int = 0
    last_error: str = ""


class TiledSink:
    """Writes result runs to a Tiled server; call it with ``(name, doc)``.

    It never raises because of the server: what could not be sent is kept in order and sent
    later. Calls may take as long as a round of requests does, so wrap it in a `BufferedSink`
    wherever the caller must not wait.

    Parameters
    ----------
    target : Tiled container client, or an address (with ``?api_key=``) that is connected to at
        the first round.
    settings : see `TiledSettings`.
    clock : monotonic clock, s.

    Examples
    --------
    >>> sink = BufferedSink(TiledSink("http://localhost:8000?api_key=..."))  # doctest: +SKIP
    >>> processor.subscribe(sink)  # doctest: +SKIP
    """

    def __init__(
        self,
        target: Any,
        settings: TiledSettings | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings or TiledSettings.model_validate({})
        self._connection = TiledConnection(
            target, self.settings.parent, timeout=self.settings.timeout_s
        )
        self._route = FrameRoute.of(self.settings)
        self._clock = clock
        self._runs: dict[str, RunWriter] = {}
        self._open = Streams()
        self._counts = TiledCounts()
        self._lost = {"dropped": 0, "refused": 0}
        self._due = 0.0
        self._failures = 0
        self._failing_since = 0.0
        self._away = False
        self._received = 0
        self._confirmed = 0

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take a document, and send a round if one is due."""
        self._received += 1
        self._counts = replace(self._counts, documents=self._received)
        self._open = self._open.updated(name, doc)
        handler = getattr(self, f"_{name}", None)
        if handler is not None:
            handler(doc)
        self.tick()

    def tick(self) -> float | None:
        """Send a round if one is due; return in how many seconds to call again.

        None means that nothing is waiting.
        """
        runs = [run for run in self._runs.values() if run.pending]
        if not runs:
            self._confirm()
            return None
        if self._crowded(runs):
            self._guarded(lambda: self._write_files(runs))
        if self._clock() >= self._due or (not self._failures and self._crowded(runs)):
            self._round(runs)
        if not any(run.pending for run in runs):
            return None
        return max(0.0, self._due - self._clock())

    def flush(self, timeout: float = 30.0) -> bool:
        """Send everything; return False if that did not succeed within `timeout` s."""
        deadline = self._clock() + timeout
        while any(run.pending for run in self._runs.values()):
            self._due = min(self._due, self._clock() + self.settings.tick_s)
            wait = self.tick()
            if wait is None:
                break
            if self._clock() + wait > deadline:
                return False
            time.sleep(wait)
        return True

    def close(self) -> None:
        """Close files and connection; what is still waiting is given up, counted and logged."""
        left = self.counts.pending
        for run in self._runs.values():
            run.release()
        self._connection.close()
        if left:
            _log.error(
                "%d rows, images or closing steps never reached Tiled; replay the journal to "
                "complete the run (last error: %s)",
                left,
                self._counts.last_error or "none",
            )

    @property
    def counts(self) -> TiledCounts:
        """Return what happened so far; may be asked from any thread."""
        runs = tuple(self._runs.values())
        series = [f for run in runs for s in tuple(run.streams.values()) for f in s.frames]
        return replace(
            self._counts,
            images_dropped=self._lost["dropped"] + sum(f.dropped for f in series),
            images_refused=self._lost["refused"] + sum(f.refused for f in series),
            pending=sum(run.pending for run in runs),
        )

    @property
    def received(self) -> int:
        """Documents given to it so far."""
        return self._received

    @property
    def confirmed(self) -> int:
        """Largest n such that the first n documents are with the server, or counted as given up.

        Rows and images count as soon as the server has acknowledged them (and files are flushed),
        rows that are held back for the first request of their stream not before; the stop counts
        when all closing steps went through. It survives a killed process, ours or the server's;
        what a power failure does depends on the disks.
        """
        return self._confirmed

    @property
    def congested(self) -> bool:
        """Whether so much is kept for a server that fails that no more should be given.

        A server that cannot be reached, or a full disk, is the trouble of all runs: documents
        then wait before the sink, in order. If the server answers, and yet requests still fail
        after `patience_s`, it may be the trouble of one run, and others must not wait for ever.
        """
        if not self._failures:
            return False
        patient = self._clock() - self._failing_since < self.settings.patience_s
        if not (self._away or patient):
            return False
        return sum(r.held_bytes for r in self._runs.values()) >= self.settings.flush_bytes

    # -- documents -------------------------------------------------------------------------

    def _start(self, doc: Mapping[str, Any]) -> None:
        run = self._runs.get(doc["uid"])
        if run is None:
            run = RunWriter(doc, self.settings, self._route)
            run.settled = self._received - 1
            self._runs[run.uid] = run
        else:
            run.end(None)

    def _descriptor(self, doc: Mapping[str, Any]) -> None:
        run = self._runs.get(doc["run_start"])
        if run is None:
            self._orphan()
            return
        run.open_stream(doc)

    def _event(self, doc: Mapping[str, Any]) -> None:
        uid, name = self._open.of(doc)
        if uid not in self._runs:
            self._orphan()
            return
        self._runs[uid].streams[name].add(doc, self._clock())

    def _event_page(self, doc: Mapping[str, Any]) -> None:
        for event in unpack_event_page(doc):  # pyright: ignore[reportArgumentType]
            self._event(event)

    def _stop(self, doc: Mapping[str, Any]) -> None:
        run = self._runs.get(doc["run_start"])
        if run is None:
            self._orphan()
            return
        run.end(doc)
        self._due = 0.0 if not self._failures else self._due

    def _orphan(self) -> None:
        self._counts = replace(self._counts, orphans=self._counts.orphans + 1)

    # -- rounds ----------------------------------------------------------------------------

    def _round(self, runs: list[RunWriter]) -> None:
        began = self._clock()
        self._away = False
        wrote = self._guarded(lambda: self._write_files(runs))
        sent = self._guarded(lambda: self._send(runs))
        now = self._clock()
        if wrote and sent:
            self._failures = 0
            self._counts = replace(self._counts, rounds=self._counts.rounds + 1)
            spacing = (now - began) / self.settings.duty
            self._due = began + min(max(spacing, self.settings.tick_s), self.settings.tick_max_s)
            self._forget_done()
        else:
            first, longest = self.settings.retry_s
            self._due = now + min(first * 2 ** min(self._failures, 30), longest)
            self._failing_since = self._failing_since if self._failures else began
            self._failures += 1
        self._confirm()

    def _confirm(self) -> None:
        """See up to which document everything is with the server.

        Within a round no documents come. What is pending after it was held back, failed, or waits
        for its turn; all of it came after what its run has settled.
        """
        oldest = self._received
        for run in self._runs.values():
            if run.pending:
                oldest = min(oldest, run.settled)
            else:
                run.settled = self._received
        self._confirmed = max(self._confirmed, oldest)

    def _crowded(self, runs: list[RunWriter]) -> bool:
        """Whether so many images wait in memory that they cannot wait for the next round."""
        return sum(run.pending_bytes for run in runs) >= self.settings.flush_bytes

    def _write_files(self, runs: list[RunWriter]) -> None:
        for run in runs:
            run.write_files()

    def _send(self, runs: list[RunWriter]) -> None:
        if self._failures:
            self._connection.probe()
        errors: list[Exception] = []
        for run in runs:
            try:
                run.flush(self._connection, self._clock(), self._received)
            except httpx.HTTPStatusError as error:
                if error.response.status_code == httpx.codes.NOT_FOUND:
                    run.forget_nodes()
                errors.append(error)
            except httpx.HTTPError:
                raise  # the server is away, for all runs
            except Exception as error:  # noqa: BLE001 - one run must not block the others
                errors.append(error)
        if errors:
            raise errors[0]

    def _guarded(self, action: Callable[[], None]) -> bool:
        """Do something that may fail for outside reasons; count and log a failure."""
        try:
            action()
        except (httpx.HTTPError, SinkError, OSError) as error:
            self._failed(error, f"Tiled sink: {type(error).__name__}: {error}")
        except Exception as error:  # noqa: BLE001 - never raises into the caller
            _log.exception("fault in the Tiled sink; it goes on with the next round")
            self._failed(error, "")
        else:
            return True
        return False

    def _failed(self, error: Exception, message: str) -> None:
        self._away = self._away or isinstance(error, httpx.TransportError)
        text = f"{type(error).__name__}: {error}"
        if message and text != self._counts.last_error:
            _log.warning("%s; kept for later", message)
        self._counts = replace(self._counts, errors=self._counts.errors + 1, last_error=text)

    def _forget_done(self) -> None:
        for uid in [uid for uid, run in self._runs.items() if run.done]:
            run = self._runs.pop(uid)
            for series in (f for stream in run.streams.values() for f in stream.frames):
                self._lost["dropped"] += series.dropped
                self._lost["refused"] += series.refused
