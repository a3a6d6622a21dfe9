"""Options that several commands share."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from enum import IntEnum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from ..io.tiled.key import refuse_key_in
from .terminal import LogFormat

Profile = Annotated[
    str | None,
    typer.Option(
        help="Settings of the beamline: the name of a shipped profile (sim_txm, nsls2_fxi, "
        "ssrl_6_2c), a folder with an operando.yml, or a YAML file. Default: built-in defaults.",
        show_default=False,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(help="Where to compute: auto, cpu, cuda or cuda:N.", show_default=False),
]
Keys = Annotated[
    Path | None,
    typer.Option(
        "--keys",
        metavar="DIR",
        help="CURVE keys of this computer (operando keys): only the forwarder that they name is "
        "believed, and all is encrypted. Without them 0MQ is in the clear.",
        show_default=False,
    ),
]
FramesDir = Annotated[
    Path | None,
    typer.Option(
        "--frames-dir",
        metavar="DIR",
        help="Folder that the Tiled server may read (its readable_storage): aligned frames are "
        "written there. Without it they go to the server over HTTP, which is slower.",
        show_default=False,
    ),
]
LogFormatOption = Annotated[
    LogFormat | None,
    typer.Option(
        "--log-format",
        help="text for people, json for machines: one object a line with time, level, logger, "
        "message, and run where one is concerned. Default: text.",
        show_default=False,
    ),
]
HttpAddress = Annotated[
    str | None,
    typer.Option(
        "--http",
        metavar="HOST:PORT",
        help="Answer /healthz, /livez and /metrics (Prometheus) there, e.g. 127.0.0.1:9108; "
        "port 0 picks a free one. Default: off.",
        show_default=False,
    ),
]
HttpPublic = Annotated[
    bool,
    typer.Option(
        "--http-public", help="Let --http listen where other machines reach it, without password."
    ),
]
StuckAfter = Annotated[
    float,
    typer.Option(
        min=1.0,
        help="Without a sign of life for so long, s, the processing counts as stuck: /livez says "
        "so, and systemd's watchdog ends the service.",
    ),
]


def _without_key(uri: str | None) -> str | None:
    if uri is not None:
        refuse_key_in(uri)
    return uri


TiledUri = Annotated[
    str | None,
    typer.Option(
        "--tiled",
        metavar="URI",
        help="Tiled server that gets the results, e.g. http://localhost:8000. Its API key is "
        "taken from TILED_API_KEY, else from the keyring.",
        show_default=False,
        callback=_without_key,
    ),
]

ZmqAddress = Annotated[
    str,
    typer.Option(
        "--zmq", metavar="HOST:PORT", help="Out side of the beamline's bluesky-0MQ-proxy."
    ),
]


@dataclass(frozen=True, kw_only=True)
class ResultOptions:
    """Options of commands that process: how, and where results go."""

    tiled: TiledUri = None
    profile: Profile = None
    device: Device = None
    frames_dir: FramesDir = None
    sink: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODULE:OBJECT",
            help="Also give results to a sink of your own: a class, made without arguments, or a "
            "function, called with (name, doc) in a thread of its own. May be given more than "
            "once.",
        ),
    ] = None


Options = TypeVar("Options")


def takes(options: type[Options]) -> Callable[[Callable[[Options], None]], Callable[..., None]]:
    """Have a command take one dataclass, whose fields are its arguments and options."""
    hints = get_type_hints(options, include_extras=True)
    parameters = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(options)  # pyright: ignore[reportArgumentType]
    ]

    def wrap(command: Callable[[Options], None]) -> Callable[..., None]:
        @wraps(command)
        def run(**values: Any) -> None:
            command(options(**values))

        run.__annotations__ = {p.name: p.annotation for p in parameters}
        run.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportAttributeAccessIssue]
        return run

    return wrap


class Exit(IntEnum):
    """Exit statuses of all commands."""

    OK = 0
    ERROR = 1
    USAGE = 2
    LOST = 3
    INTERRUPTED = 130


MEANING: dict[Exit, str] = {
    Exit.OK: "clean end: everything that came was processed and delivered",
    Exit.ERROR: "an error that is told in one line, or a fault of ours with its traceback",
    Exit.USAGE: "wrong options; starting it again does not help",
    Exit.LOST: "ended, but documents were dropped or results did not arrive; the log tells which",
    Exit.INTERRUPTED: "interrupted before the end (a second Ctrl-C or SIGTERM)",
}


def epilog() -> str:
    """Return the statuses as one paragraph for ``--help``."""
    told = "; ".join(f"{int(status)}: {meaning}" for status, meaning in MEANING.items())
    return f"Exit status {told}."
