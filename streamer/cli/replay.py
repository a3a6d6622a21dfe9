"""``operando replay``: play recordings back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from ..errors import ConfigError
from .options import Device, FramesDir, Profile, TiledUri


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
) -> None:
    """Play recordings back, into a processor here or over 0MQ.

    The same documents give the same results as when they came live, bit for bit.
    """
    console = Console(stderr=True)
    pace = _speed(speed)
    if zmq is not None:
        if tiled or profile or output:
            raise ConfigError(
                "--zmq publishes the raw documents: --tiled, --profile and --output belong to the "
                "operando process that listens"
            )
        _publish(source, pace, zmq, console)
        return
    _process(source, pace, (tiled, profile, device, frames_dir, output), console)


def _speed(text: str) -> float | Literal["max"]:
    if text == "max":
        return "max"
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if value <= 0:
        raise ConfigError(f"--speed takes a number above 0 or 'max', got {text!r}")
    return value


def _publish(source: str, speed: float | Literal["max"], address: str, console: Console) -> None:
    from ...callbacks.publisher import FramePublisher
    from ..recording.reader import read_documents
    from ..recording.replay import replay as paced

    number = 0
    publisher = FramePublisher(address)
    with console.status(f"publishing to {address}") as status:
        for number, item in enumerate(paced(read_documents(source), speed), start=1):
            publisher(item.name, item.doc)
            status.update(f"published {number} documents to {address}")
        publisher.close()
    console.print(f"published {number} documents of {source} to {address}", highlight=False)


def _process(
    source: str,
    speed: float | Literal["max"],
    targets: tuple[str | None, str | None, str | None, Path | None, Path | None],
    console: Console,
) -> None:
    import threading

    from ..service import Service
    from ..sources import make_source
    from .live import follow
    from .sinks import processor_with_sinks, settings_of

    tiled, profile, device, frames_dir, output = targets
    settings = settings_of(profile, device)
    recording = make_source("recording", path=source, speed=speed)
    stop = threading.Event()
    with processor_with_sinks(settings, tiled, frames_dir, output) as (processor, summary, _):
        with recording:
            follow(Service(recording, processor), recording, summary, stop, console)
        processor.close()
        if not summary.runs:
            console.print("no run with images was found; -v tells why each was declined")
    if tiled is not None:
        for uid in summary.runs:
            console.print(f"in Tiled: {uid}", highlight=False)
