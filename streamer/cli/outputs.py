"""A processor with its sinks, as the commands use it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...callbacks.processor.processor import StreamProcessor
from ...callbacks.publisher import FramePublisher
from ...callbacks.sinks.buffer import BufferedSink
from ...callbacks.sinks.protocols import stripped
from ...callbacks.sinks.spool import Spool
from ...callbacks.stock import ResultSummary, log_advice
from ..config import Settings, load_settings
from ..core.frames import Document
from ..errors import SinkError
from ..service.operation.monitor import CheckResult, Monitor
from .terminal import say

if TYPE_CHECKING:
    from ...callbacks.tiled.sink import TiledSink
    from ..io.tiled.settings import TiledSettings


def settings_of(profile: str | None, device: str | None) -> Settings:
    """Read the settings of a profile; a device given on the command line wins."""
    overrides = {"process": {"device": device}} if device else {}
    return load_settings(profile, overrides)


@contextmanager
def processor_with_sinks(
    settings: Settings,
    tiled: str | None,
    frames_dir: Path | None,
    output: Path | None = None,
    *,
    resumable: bool = False,
) -> Iterator[tuple[StreamProcessor, ResultSummary, Any]]:
    """Make a processor whose results go to Tiled and to a recording, as far as they are asked for.

    Parameters
    ----------
    resumable : whether runs that are open at the end are left open, to be gone on with.

    Yields
    ------
    The processor, a summary of what came out of it, and the Tiled sink or None. At the end all
    results have been delivered.

    Raises
    ------
    SinkError
        At the end, if some were not.
    """
    lost: list[str] = []
    with ExitStack() as stack:
        processor = StreamProcessor(settings)
        summary = ResultSummary()
        sink = None
        if tiled is not None:
            from ...callbacks.tiled.sink import TiledSink

            chosen = settings.tiled.model_copy(
                update={"frames_dir": str(frames_dir)} if frames_dir else {}
            )
            sink = _buffered(TiledSink(tiled, chosen), chosen)
            stack.callback(_deliver, sink, lost, chosen.close_s, resumable)
            processor.subscribe(sink)
        if output is not None:
            from ..io.recording.writer import RecordingWriter

            writer = stack.enter_context(RecordingWriter(output))
            processor.subscribe(writer)
        processor.subscribe(summary)
        processor.subscribe(log_advice)
        stack.callback(processor.suspend if resumable else processor.close)
        yield processor, summary, sink
    if processor.subscriber_failures:
        lost.append(f"{processor.subscriber_failures} result documents could not be written")
    if lost:
        raise SinkError("; ".join(lost))


def _buffered(sink: TiledSink, settings: TiledSettings) -> BufferedSink:
    """Put the queue and the spool before a Tiled sink."""
    memory = int(settings.queue_mb * 1e6)
    spool = None
    if settings.spool_gb:
        spool = Spool(settings.spool_dir, int(settings.spool_gb * 1e9))
    return BufferedSink(sink, memory, spool=spool)


def _deliver(sink: BufferedSink, lost: list[str], timeout: float, resumable: bool) -> None:
    """Wait until Tiled has everything; say in `lost` what it does not have.

    With a journal what still waits is not lost, as the checkpoint is from before it; but it is not
    there, and that is told all the same.
    """
    say("delivering the last results to Tiled")
    sink.close(timeout)
    documents, counts = sink.counts, sink.sink.counts  # pyright: ignore[reportAttributeAccessIssue]
    waiting = documents.queued + counts.pending
    left = documents.dropped + documents.lost + (0 if resumable else waiting)
    images = counts.images_dropped + documents.stripped
    if resumable and waiting:
        lost.append(
            f"{waiting} results did not reach Tiled ({counts.last_error or 'no time'}): the next "
            "start computes them again from the journal"
        )
    if left:
        lost.append(f"{left} results never reached Tiled ({counts.last_error or 'no time'})")
    if images:
        lost.append(f"{images} images never reached Tiled (no room in memory and spool)")
    if left or images:
        lost.append(
            "to complete the runs, give their journal or recording to `operando replay` with the "
            "same profile and --tiled once the server is back: what it holds is not written twice"
        )


# Results of a processor to 0MQ, for whoever acts on them.


@dataclass(frozen=True, slots=True)
class Outlet:
    """In side of a proxy, ``host:port``, and the folder with a publisher's CURVE keys, if any."""

    address: str
    keys: Path | None = None


@contextmanager
def publishing(processor: StreamProcessor, outlet: Outlet | None) -> Iterator[None]:
    """Publish result documents without their images for as long as the context lasts.

    They never hold up the processor: what a proxy does not take is dropped, as by any
    `FramePublisher`.
    """
    if outlet is None:
        yield
        return
    curve = None
    if outlet.keys is not None:
        from ..io.wire.curve import client_curve

        curve = client_curve(outlet.keys, "publisher")
    publisher = FramePublisher(outlet.address, max_bytes=1 << 24, curve=curve)

    def send(name: str, doc: Document) -> None:
        publisher(name, stripped(name, doc) if name == "event" else doc)

    token = processor.subscribe(send)
    try:
        yield
    finally:
        processor.unsubscribe(token)
        publisher.close()


# Process variables beside a processor.


@contextmanager
def serving_variables(
    prefix: str | None, processor: StreamProcessor, monitor: Monitor
) -> Iterator[None]:
    """Within this, results are served as process variables, and the monitor tells how that goes.

    Parameters
    ----------
    prefix : of their names; None for none.

    Raises
    ------
    ConfigError
        On entering, if they cannot be served.
    """
    if prefix is None:
        yield
        return
    from ..service.epics.ioc import SoftIoc

    with SoftIoc(prefix, alive=lambda: monitor.health.alive()[0]) as ioc:

        def check() -> CheckResult:
            details = {"trouble": ioc.trouble, "failures": ioc.failures, "held": ioc.held}
            return CheckResult(not ioc.trouble, details)

        monitor.add_part("epics", check=check)
        say(f"process variables {prefix}* are served at {ioc.where}")
        token = processor.subscribe(ioc)
        try:
            yield
        finally:
            processor.unsubscribe(token)
