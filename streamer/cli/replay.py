"""``operando replay``: play recordings back."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..errors import ConfigError
from ..io.tiled.key import refuse_key_in
from .options import Device, Exit, FramesDir, Keys, Profile, TiledUri

if TYPE_CHECKING:
    from ...callbacks.publisher import FramePublisher
    from ..lab.faults import FaultInjector


def replay(
    source: Annotated[
        str,
        typer.Argument(
            help="A recording (ours, suitcase-msgpack, JSON lines, JSON-seq), a folder of them, "
            "or the URI of a raw BlueskyRun in a Tiled server."
        ),
    ],
    speed: Annotated[
        str, typer.Option(help="1: as it happened; N: N times faster; max: without waiting.")
    ] = "1",
    zmq: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Publish to the in side of a bluesky-0MQ-proxy, as the beamline would, instead "
            "of processing here.",
            show_default=False,
        ),
    ] = None,
    tiled: TiledUri = None,
    profile: Profile = None,
    device: Device = None,
    frames_dir: FramesDir = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Keep the result documents as a recording."),
    ] = None,
    keys: Keys = None,
    faults: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Rehearse what a beamline does to a service: a YAML script of faults that are put "
            "into what is played back, as profiles/sim_txm/faults.yml shows.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Seed of these faults, in place of that in the script."),
    ] = None,
) -> None:
    """Play recordings back, into a processor here or over 0MQ.

    The same documents give the same results as when they came live, bit for bit. At Ctrl-C what
    has been computed is delivered, and the exit status is 130.
    """
    from .terminal import say, stop_at_signals

    pace = _speed(speed)
    if zmq is not None and (tiled or profile or device or frames_dir or output):
        raise ConfigError(
            "--zmq publishes the raw documents: --tiled, --profile, --device, --frames-dir and "
            "--output belong to the operando process that listens"
        )
    if keys is not None and zmq is None:
        raise ConfigError("--keys protects what is published: it belongs to --zmq")
    _check(source)
    injector = _injector(faults, seed)
    stop = stop_at_signals()
    if zmq is not None:
        _publish((source, injector), pace, (zmq, keys), stop)
    else:
        _process((source, injector), pace, (tiled, profile, device, frames_dir, output), stop)
    for line in injector.summary() if injector is not None else ():
        say(line)
    if stop.is_set():
        raise typer.Exit(Exit.INTERRUPTED)


def _speed(text: str) -> float | Literal["max"]:
    if text == "max":
        return "max"
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not value > 0:
        raise ConfigError(f"--speed takes a number above 0 or 'max', got {text!r}")
    return value


def _check(source: str) -> None:
    """Refuse a path that does not exist, or an address with a key, before anything is loaded."""
    refuse_key_in(source)
    if "://" not in source and not Path(source).exists():
        raise ConfigError(f"no recording at {source}: no such file or folder")


def _injector(script: Path | None, seed: int | None) -> FaultInjector | None:
    from ..lab.faults import FaultInjector, load_script

    if script is None:
        if seed is not None:
            raise ConfigError("--seed is that of the faults: give --faults FILE as well")
        return None
    return FaultInjector(load_script(script, seed))


def _publish(
    what: tuple[str, FaultInjector | None],
    speed: float | Literal["max"],
    target: tuple[str, Path | None],
    stop: threading.Event,
) -> None:
    from ...callbacks.publisher import FramePublisher
    from ..errors import OperandoError
    from ..io.recording.reader import read_documents
    from ..io.recording.replay import message_of
    from ..io.recording.replay import replay as paced
    from ..io.wire.curve import client_curve
    from .terminal import console, say

    source, injector = what
    documents = read_documents(source)
    if injector is not None:
        documents = injector(documents)
    number = 0
    address, keys = target
    curve = None if keys is None else client_curve(keys, "publisher")
    publisher = FramePublisher(address, curve=curve)
    try:
        with console().status(f"waiting for somebody to listen at {address}") as status:
            _wait_for_listener(publisher, address, stop)
            for item in paced(documents, speed, sleep=stop.wait):
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
    say(f"published {counters.sent} documents of {source} to {address}")
    if counters.sent < number and not stop.is_set():
        raise OperandoError(f"{number - counters.sent} documents could not be sent")


_LISTENER_S = 10.0

_AHEAD_BYTES = 64 << 20


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


def _process(
    what: tuple[str, FaultInjector | None],
    speed: float | Literal["max"],
    targets: tuple[str | None, str | None, str | None, Path | None, Path | None],
    stop: threading.Event,
) -> None:
    from ..io.sources import make_source
    from ..io.tiled.connection import tiled_trouble
    from ..service.service import Service, ServiceSettings
    from .outputs import processor_with_sinks, settings_of
    from .progress import follow, show_ended
    from .terminal import say

    source, injector = what
    tiled, profile, device, frames_dir, output = targets
    settings = settings_of(profile, device)
    trouble = tiled_trouble(tiled) if tiled else ""
    if trouble:
        raise ConfigError(trouble)
    recording = make_source("recording", path=source, speed=speed, injector=injector)
    # what lies on disk can be replayed again: an interrupt need not work off what was read ahead
    service_settings = ServiceSettings(finish=False)
    with processor_with_sinks(settings, tiled, frames_dir, output) as (processor, summary, _):
        with recording:
            follow(Service(recording, processor, service_settings), summary, stop)
        ended = {uid: run for uid, run in summary.runs.items() if run.stop is not None}
        processor.close()  # ends runs that have no stop document
        show_ended(summary, ended)
    if recording.counters().bad:
        say(f"{recording.counters().bad} damaged messages were dropped", "red")
    if not summary.runs:
        say("no run with images was found")
    if tiled is not None:
        for uid in summary.runs:
            say(f"in Tiled: {uid}")
