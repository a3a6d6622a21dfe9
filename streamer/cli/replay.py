"""``operando replay``: play recordings back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..errors import ConfigError
from ..io.tiled.key import refuse_key_in
from .options import Exit, Keys, ResultOptions, takes

if TYPE_CHECKING:
    from ...callbacks.publisher import FramePublisher
    from ..io.recording.dialects import Recorded
    from ..lab.faults import FaultInjector

_LISTENER_S = 10.0  # by eye: a processor that was started at the same time listens by then
_AHEAD_BYTES = 64 << 20  # a few frames of 2048 x 2048


@dataclass(frozen=True, kw_only=True)
class ReplayOptions(ResultOptions):
    """Options of ``operando replay``."""

    source: Annotated[
        str,
        typer.Argument(
            help="A recording (ours, suitcase-msgpack, JSON lines, JSON-seq), a folder of them, "
            "or the URI of a raw BlueskyRun in a Tiled server."
        ),
    ]
    speed: Annotated[
        str, typer.Option(help="1: as it happened; N: N times faster; max: without waiting.")
    ] = "1"
    zmq: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Publish to the in side of a bluesky-0MQ-proxy, as the beamline would, instead "
            "of processing here.",
            show_default=False,
        ),
    ] = None
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Keep the result documents as a recording."),
    ] = None
    keys: Keys = None
    faults: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Rehearse what a beamline does to a service: a YAML script of faults that are put "
            "into what is played back, as profiles/sim_txm/faults.yml shows.",
            show_default=False,
        ),
    ] = None
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Seed of these faults, in place of that in the script."),
    ] = None

    @property
    def pace(self) -> float | Literal["max"]:
        """Return the speed as a number or max."""
        if self.speed == "max":
            return "max"
        try:
            value = float(self.speed)
        except ValueError:
            value = 0.0
        if not value > 0:
            raise ConfigError(f"--speed takes a number above 0 or 'max', got {self.speed!r}")
        return value

    def check(self) -> None:
        """Refuse what does not fit together, before anything is loaded."""
        results = (self.tiled, self.profile, self.device, self.frames_dir, self.output, self.sink)
        if self.zmq is not None and any(results):
            raise ConfigError(
                "--zmq publishes the raw documents: --tiled, --profile, --device, --frames-dir, "
                "--sink and --output belong to the operando process that listens"
            )
        if self.keys is not None and self.zmq is None:
            raise ConfigError("--keys protects what is published: it belongs to --zmq")
        refuse_key_in(self.source)
        if "://" not in self.source and not Path(self.source).exists():
            raise ConfigError(f"no recording at {self.source}: no such file or folder")


@takes(ReplayOptions)
def replay(options: ReplayOptions) -> None:
    """Play recordings back, into a processor here or over 0MQ.

    The same documents give the same results as when they came live, bit for bit. At Ctrl-C what
    has been computed is delivered, and the exit status is 130.
    """
    from .terminal import say, stop_at_signals

    pace = options.pace
    options.check()
    injector = _injector(options.faults, options.seed)
    stop = stop_at_signals()
    if options.zmq is not None:
        _publish(options, options.zmq, _documents(options.source, injector, pace, stop), stop)
    else:
        _process(options, injector, stop)
    for line in injector.summary() if injector is not None else ():
        say(line)
    if stop.is_set():
        raise typer.Exit(Exit.INTERRUPTED)


def _injector(script: Path | None, seed: int | None) -> FaultInjector | None:
    from ..lab.faults import FaultInjector, load_script

    if script is None:
        if seed is not None:
            raise ConfigError("--seed is that of the faults: give --faults FILE as well")
        return None
    return FaultInjector(load_script(script, seed))


def _documents(
    source: str,
    injector: FaultInjector | None,
    pace: float | Literal["max"],
    stop: threading.Event,
) -> Iterator[Recorded]:
    """Read a recording at a pace, with faults put into it."""
    from ..io.recording.reader import read_documents
    from ..io.recording.replay import replay as paced

    documents = read_documents(source)
    if injector is not None:
        documents = injector(documents)
    return paced(documents, pace, sleep=stop.wait)


def _publish(
    options: ReplayOptions, address: str, documents: Iterator[Recorded], stop: threading.Event
) -> None:
    from ...callbacks.publisher import FramePublisher
    from ..errors import OperandoError
    from ..io.recording.replay import message_of
    from ..io.wire.curve import client_curve
    from .terminal import console, say

    number = 0
    curve = None if options.keys is None else client_curve(options.keys, "publisher")
    publisher = FramePublisher(address, curve=curve)
    try:
        with console().status(f"waiting for somebody to listen at {address}") as status:
            _wait_for_listener(publisher, address, stop)
            for item in documents:
                if stop.is_set():
                    break
                _wait_for_room(publisher, stop)
                message = message_of(item)
                if message is None:
                    publisher(item.name, item.doc)
                else:
                    publisher.forward(message)
                number += 1
                status.update(f"published {number} documents to {address}")
    finally:
        publisher.close(timeout=2.0 if stop.is_set() else 60.0)
    counters = publisher.counters()
    say(f"published {counters.sent} documents of {options.source} to {address}")
    if counters.sent < number and not stop.is_set():
        raise OperandoError(f"{number - counters.sent} documents could not be sent")


def _wait_for_listener(publisher: FramePublisher, address: str, stop: threading.Event) -> None:
    """Wait until somebody listens behind the proxy: what is sent before would be lost."""
    for _ in range(int(_LISTENER_S / 0.1)):
        if stop.is_set() or publisher.wait_connected(0.1):
            return
    raise ConfigError(
        f"nobody listens at {address}: start bluesky-0MQ-proxy, and operando process or operando "
        "record at its out side, first"
    )


def _wait_for_room(publisher: FramePublisher, stop: threading.Event) -> None:
    """Read no further ahead than the proxy takes: the publisher drops what it cannot hold."""
    while publisher.counters().queued_bytes > _AHEAD_BYTES and not stop.wait(0.02):
        pass


def _process(options: ReplayOptions, injector: FaultInjector | None, stop: threading.Event) -> None:
    from ..io.sources import make_source
    from ..io.tiled.status import tiled_trouble
    from ..service.service import Service, ServiceSettings
    from .outputs import processor_with_sinks, settings_of
    from .progress import follow, show_ended
    from .terminal import say

    settings = settings_of(options.profile, options.device)
    trouble = tiled_trouble(options.tiled) if options.tiled else ""
    if trouble:
        raise ConfigError(trouble)
    recording = make_source("recording", path=options.source, speed=options.pace, injector=injector)
    # what lies on disk can be replayed again: an interrupt need not work off what was read ahead
    service_settings = ServiceSettings(finish=False)
    with processor_with_sinks(settings, options, options.output) as outputs:
        processor, summary = outputs.processor, outputs.summary
        with recording:
            follow(Service(recording, processor, service_settings), summary, stop)
        ended = {uid: run for uid, run in summary.runs.items() if run.stop is not None}
        processor.close()  # ends runs that have no stop document
        show_ended(summary, ended)
    if recording.counters().bad:
        say(f"{recording.counters().bad} damaged messages were dropped", "red")
    if not summary.runs:
        say("no run with images was found")
    if options.tiled is not None:
        for uid in summary.runs:
            say(f"in Tiled: {uid}")
