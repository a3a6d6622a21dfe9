"""The commands and how they end."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from ..errors import OperandoError, SinkError
from ..io.redact import report_uncaught
from . import bench, demo, process, record, replay, serve, train, watch
from .options import Exit, LogFormatOption, epilog
from .terminal import LogFormat, say, set_up_log

app = typer.Typer(
    name="operando",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Find, follow and align every battery particle in a transmission X-ray microscope while "
    "the beamline is scanning. Detector documents of Bluesky go in; aligned frames and particle "
    "trajectories grow in a Tiled server.",
)

app.command(name="dashboard")(serve.dashboard)
app.command(name="demo")(demo.demo)
app.command(name="forward")(serve.forward)
app.command(name="keys")(serve.keys)
app.command(name="ioc")(serve.ioc)
app.command(name="process", epilog=epilog())(process.process)
app.command(name="journal")(record.journal)
app.command(name="record")(record.record)
app.command(name="replay")(replay.replay)
app.command(name="import")(record.import_data)
app.command(name="watch")(watch.watch)
app.add_typer(bench.app, name="bench")

app.add_typer(train.app, name="train")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"operando {version('operando')}")
        raise typer.Exit


@app.callback()
def options(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Tell every step, not only what is odd.")
    ] = False,
    log_format: LogFormatOption = None,
    show_version: Annotated[  # noqa: ARG001 - its callback has done all
        bool,
        typer.Option(
            "--version", help="Print the version and end.", is_eager=True, callback=_show_version
        ),
    ] = False,
) -> None:
    """Set up what all commands share."""
    set_up_log(verbose=verbose, form=log_format or LogFormat.TEXT)


def main() -> None:
    """Run the command line; errors of operando are told in one line, see `Exit` for the status."""
    sys.excepthook = report_uncaught
    try:
        status = app(standalone_mode=False)
    except typer.Exit as done:
        sys.exit(done.exit_code)
    except typer.Abort:
        sys.exit(Exit.INTERRUPTED)
    except KeyboardInterrupt:
        say("interrupted", "yellow")
        sys.exit(Exit.INTERRUPTED)
    except OperandoError as error:
        say(f"operando: {error}", "red")
        sys.exit(Exit.LOST if isinstance(error, SinkError) else Exit.ERROR)
    except Exception as error:
        usage = getattr(error, "format_message", None)  # of click's errors, wherever they live
        if usage is None:
            raise
        say(f"operando: {usage()} (see operando --help)", "red")
        sys.exit(getattr(error, "exit_code", Exit.USAGE))
    sys.exit(status if isinstance(status, int) else 0)
