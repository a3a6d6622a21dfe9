"""A processor with its sinks, as the commands use it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...callbacks.processor.processor import StreamProcessor
from ...callbacks.publisher import FramePublisher
from ...callbacks.sinks.buffer import BufferedSink
from ...callbacks.sinks.protocols import resolve_sink, stripped
from ...callbacks.sinks.spool import Spool
from ...callbacks.stock import ResultSummary, log_advice
from ..config import Settings, load_settings
from ..core.frames import Document
from ..errors import ConfigError, SinkError
from ..io.recording.writer import RecordingWriter
from ..io.wire.curve import client_curve
from ..service.operation.monitor import CheckResult, Monitor
from .options import ResultOptions
from .terminal import say

_OWN_SINK_S = 30.0  # to deliver what waits at the end; as BufferedSink does by itself
_PUBLISHED_BYTES = 1 << 24  # results without images: minutes of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """A processor, and what its results go to.

    Attributes
    ----------
    processor : makes the results. summary : of what came out of it.
    tiled : the way to Tiled, None if results do not go there.
    sinks : all sinks that work in threads of their own, that to Tiled included.
    """

    processor: StreamProcessor
    summary: ResultSummary
    tiled: BufferedSink | None
    sinks: tuple[BufferedSink, ...]


def settings_of(profile: str | None, device: str | None) -> Settings:
    """Read the settings of a profile; a device given on the command line wins."""
    return load_settings(profile, {"process": {"device": device}} if device else {})


@contextmanager
def processor_with_sinks(
    settings: Settings,
    options: ResultOptions,
    recording: Path | None = None,
    *,
    resumable: bool = False,
) -> Iterator[Outputs]:
    """Make a processor whose results go where the options say, and to a recording.

    Parameters
    ----------
    resumable : whether runs that are open at the end are left open, to be gone on with.

    Yields
    ------
    The processor and its sinks. At the end all results have been delivered.

    Raises
    ------
    ConfigError
        A sink cannot be made.
    SinkError
        At the end, if results were not delivered.
    """
    lost: list[str] = []
    with ExitStack() as stack:
        processor, summary = StreamProcessor(settings), ResultSummary()
        tiled = None
        if options.tiled is not None:
            tiled = _to_tiled(options.tiled, options.frames_dir, settings)
            stack.callback(_deliver, tiled, settings.tiled.close_s, lost, resumable)
        own = []
        for path in options.sink or ():
            own.append(_own_sink(path))
            stack.callback(_deliver_own, own[-1], path, lost)
        sinks = (*own, *(() if tiled is None else (tiled,)))
        for sink in sinks:
            processor.subscribe(sink)
        if recording is not None:
            processor.subscribe(stack.enter_context(RecordingWriter(recording)))
        processor.subscribe(summary)
        processor.subscribe(log_advice)
        stack.callback(processor.suspend if resumable else processor.close)
        yield Outputs(processor=processor, summary=summary, tiled=tiled, sinks=sinks)
    if processor.subscriber_failures:
        lost.append(f"{processor.subscriber_failures} result documents could not be written")
    if lost:
        raise SinkError("; ".join(lost))


def _to_tiled(uri: str, frames_dir: Path | None, settings: Settings) -> BufferedSink:
    """Make a sink to Tiled behind a queue and a spool."""
    from ...callbacks.tiled.sink import TiledSink

    chosen = settings.tiled
    if frames_dir:
        chosen = chosen.model_copy(update={"frames_dir": str(frames_dir)})
    sink, memory = TiledSink(uri, chosen), int(chosen.queue_mb * 1e6)
    spool = None
    if chosen.spool_gb:
        spool = Spool(chosen.spool_dir, int(chosen.spool_gb * 1e9))
    return BufferedSink(sink, memory, spool=spool)


def _own_sink(path: str) -> BufferedSink:
    """Make the sink that a dotted path names, in a thread of its own."""
    try:
        found = resolve_sink(path)
        sink = found() if isinstance(found, type) else found
    except Exception as error:
        raise ConfigError(f"the sink {path!r} cannot be made: {error!r}") from error
    if not callable(sink):
        raise ConfigError(f"the sink {path!r} cannot be called with (name, doc)")
    return BufferedSink(sink)


def _deliver(sink: BufferedSink, timeout: float, lost: list[str], resumable: bool) -> None:
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


def _deliver_own(sink: BufferedSink, path: str, lost: list[str]) -> None:
    """Wait until a sink of the user has everything; say in `lost` what it does not have."""
    sink.close(_OWN_SINK_S)
    counts = sink.counts
    missed = counts.queued + counts.dropped + counts.errors
    if missed:
        lost.append(f"{missed} results were not taken by the sink {path}; the log tells why")
    if counts.stripped:
        lost.append(f"{counts.stripped} images never reached the sink {path} (it is too slow)")


@contextmanager
def publishing(
    processor: StreamProcessor, address: str | None, keys: Path | None
) -> Iterator[None]:
    """Publish result documents without their images for as long as the context lasts.

    They never hold up the processor: what a proxy does not take is dropped, as by any
    `FramePublisher`.

    Parameters
    ----------
    address : in side of a proxy, ``host:port``; None for none.
    keys : folder with a publisher's CURVE keys, if it wants some.
    """
    if address is None:
        yield
        return
    curve = None if keys is None else client_curve(keys, "publisher")
    publisher = FramePublisher(address, max_bytes=_PUBLISHED_BYTES, curve=curve)

    def send(name: str, doc: Document) -> None:
        publisher(name, stripped(name, doc) if name == "event" else doc)

    token = processor.subscribe(send)
    try:
        yield
    finally:
        processor.unsubscribe(token)
        publisher.close()


@contextmanager
def serving_variables(
    prefix: str | None, processor: StreamProcessor, monitor: Monitor
) -> Iterator[None]:
    """Serve results as process variables in this context, and have the monitor tell how that goes.

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
            details: dict[str, Any] = {"trouble": ioc.trouble, "failures": ioc.failures}
            return CheckResult(not ioc.trouble, {**details, "held": ioc.held})

        monitor.add_part("epics", check=check)
        say(f"process variables {prefix}* are served at {ioc.where}")
        token = processor.subscribe(ioc)
        try:
            yield
        finally:
            processor.unsubscribe(token)
