"""Standard error: one console that messages, log and progress share."""

from __future__ import annotations

import logging
from functools import cache

from rich.console import Console
from rich.logging import RichHandler

from ..redact import RedactingFormatter, redacted


@cache
def console() -> Console:
    """The console that everything but results is written to.

    There is only one, because a status line and a log message on two of them overwrite each other.
    """
    return Console(stderr=True)


def say(text: str, style: str = "") -> None:
    """Write one line, however long: a line that is broken cannot be searched for in a log."""
    console().print(redacted(text), style=style, markup=False, highlight=False, soft_wrap=True)


def set_up_log(*, verbose: bool) -> None:
    """Send the log to the console: warnings, and what became of runs; all with `verbose`."""
    terminal = console().is_terminal
    handler: logging.Handler = (
        RichHandler(console=console(), show_path=False, markup=False)
        if terminal
        else logging.StreamHandler()
    )
    line = "%(message)s" if terminal else "%(asctime)s %(levelname)s %(message)s"
    handler.setFormatter(RedactingFormatter(line, "[%X]" if terminal else None))
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[handler])
    # that a run was declined, and why, is what one wants to know first when nothing comes out
    logging.getLogger("operando.callbacks.processor").setLevel(logging.INFO)
    # their chatter at INFO is one line per request
    for noisy in ("httpx", "httpcore", "tiled", "bluesky"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
