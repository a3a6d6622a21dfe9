"""Standard error: one console that messages, log and progress share."""

from __future__ import annotations

import json
import logging
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.logging import RichHandler

from ..core.frames import Document
from ..io.redact import RedactingFormatter, redacted

_log = logging.getLogger("operando.cli")
_RUN = re.compile(r"\brun (?P<uid>[0-9a-f]{8}-[0-9a-f-]{27}|[^\s:?]+(?=:))")
_LEVELS = {"yellow": logging.WARNING, "red": logging.ERROR}


class LogFormat(StrEnum):
    """Form of the log."""

    TEXT = "text"
    JSON = "json"


@cache
def console() -> Console:
    """Return the console that everything but results is written to.

    There is only one, because a status line and a log message on two of them overwrite each other.
    """
    return Console(stderr=True)


def say(text: str, style: str = "") -> None:
    """Write one line, however long: a line that is broken cannot be searched for in a log."""
    if for_machines():
        _log.log(_LEVELS.get(style, logging.INFO), "%s", redacted(text))
    else:
        console().print(redacted(text), style=style, markup=False, highlight=False, soft_wrap=True)


def for_machines() -> bool:
    """Return whether the log is JSON: nothing else may be written to standard error then."""
    return any(isinstance(h.formatter, JsonFormatter) for h in logging.getLogger().handlers)


@contextmanager
def status_line(text: str) -> Iterator[Callable[[str], None]]:
    """Show a line that changes, on a terminal; yields what changes it."""
    if for_machines():
        yield lambda _text: None
        return
    with console().status(text) as status:
        yield status.update


def set_up_log(*, verbose: bool, form: LogFormat = LogFormat.TEXT) -> None:
    """Send the log to the console: warnings, and what became of runs; all with `verbose`."""
    use_log_format(form)
    logging.getLogger().setLevel(logging.INFO if verbose else logging.WARNING)
    # that a run was declined, and why, is what one wants to know first when nothing comes out
    logging.getLogger("operando.callbacks.processor.processor").setLevel(logging.INFO)
    _log.setLevel(logging.INFO)  # what is said to people is said to machines
    # their chatter at INFO is one line per request
    for noisy in ("httpx", "httpcore", "tiled", "bluesky", "caproto"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def use_log_format(form: LogFormat | None) -> None:
    """Change the form of the log, if one is given; the levels stay."""
    if form is not None:
        (_for_machines if form is LogFormat.JSON else _for_people)()


def _for_people() -> None:
    terminal = console().is_terminal
    handler: logging.Handler = (
        RichHandler(console=console(), show_path=False, markup=False)
        if terminal
        else logging.StreamHandler()
    )
    text = "%(message)s" if terminal else "%(asctime)s %(levelname)s %(message)s"
    handler.setFormatter(RedactingFormatter(text, "[%X]" if terminal else None))
    _install(handler)


def _for_machines() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    _install(handler)
    logging.captureWarnings(capture=True)
    sys.excepthook = _fault
    threading.excepthook = lambda fault: _fault(
        fault.exc_type, fault.exc_value or fault.exc_type(), fault.exc_traceback
    )


def _install(handler: logging.Handler) -> None:
    """Make this the handler of the root logger, in place of an earlier one of ours."""
    root = logging.getLogger()
    ours = [h for h in root.handlers if isinstance(h.formatter, JsonFormatter | RedactingFormatter)]
    for old in ours:
        root.removeHandler(old)
    root.addHandler(handler)


def _fault(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """Log a fault that nobody has caught, so that it is one line too."""
    _log.critical("fault: %s", kind.__name__, exc_info=(kind, error, traceback))


def end_after(runs: int, stop: threading.Event) -> Callable[[str, Document], None]:
    """Make a callback that sets `stop` when so many result runs have stopped."""
    left = runs

    def count(_name: str, _doc: Document) -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            stop.set()

    return count


def stop_at_signals(
    message: str = "ending; once more gives up what is not delivered yet",
) -> threading.Event:
    """Have SIGINT (Ctrl-C) and SIGTERM set an event; a second one interrupts what goes on."""
    stop = threading.Event()
    signals = 0

    def handle(*_: object) -> None:
        nonlocal signals
        signals += 1
        if signals > 1:
            raise KeyboardInterrupt
        stop.set()
        say(message, "yellow")

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)
    return stop


class JsonFormatter(logging.Formatter):
    """One JSON object a line.

    Keys: ``time`` (ISO 8601, UTC, ms), ``level``, ``logger``, ``message``; ``run``, the uid of the
    raw run, where the record has it as `run` or its message names one; ``exception``, the
    traceback, where there is one.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Make the line."""
        message = record.getMessage()
        content: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redacted(message),
        }
        run = run_of(record, message)
        if run:
            content["run"] = run
        if record.exc_info and record.exc_info[0] is not None:
            content["exception"] = redacted(self.formatException(record.exc_info))
        return json.dumps(content, ensure_ascii=False)


def run_of(record: logging.LogRecord, message: str) -> str:
    """Return the uid of the raw run that a record is about, "" if it cannot be told."""
    given = getattr(record, "run", None)
    if given is not None:
        return str(given)
    named = _RUN.search(message)
    return named["uid"] if named else ""
