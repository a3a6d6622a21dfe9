"""Takes API keys out of whatever is written down: logs, messages, what a child process prints."""

from __future__ import annotations

import logging
import os
import re
from types import TracebackType
from typing import Any, TextIO

KEY_VARIABLES = ("TILED_API_KEY", "TILED_SINGLE_USER_API_KEY")
HIDDEN = "***"

_SHORTEST = 4  # a shorter "key" would blot out half of every text
_IN_ADDRESS = re.compile(r"(api_key=)[^\s&\"'<>\\)]+", re.IGNORECASE)
_IN_HEADER = re.compile(r"(\bapikey )[^\s\"'<>\\),]+", re.IGNORECASE)
_remembered: set[str] = set()


def remember(key: str) -> None:
    """Have a key that comes from somewhere else than the environment hidden too."""
    if len(key) >= _SHORTEST:
        _remembered.add(key)


def redacted(text: str) -> str:
    """Return a text with all keys that are known, or look like one, hidden."""
    given = {os.environ.get(variable, "") for variable in KEY_VARIABLES}
    for key in sorted((k for k in given | _remembered if len(k) >= _SHORTEST), key=len)[::-1]:
        text = text.replace(key, HIDDEN)
    return _IN_HEADER.sub(rf"\1{HIDDEN}", _IN_ADDRESS.sub(rf"\1{HIDDEN}", text))


class RedactingFormatter(logging.Formatter):
    """A formatter whose lines, tracebacks included, hold no key."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the finished line."""
        return redacted(super().format(record))


class RedactingStream:
    """A text stream that hides keys; everything else is that of the stream inside."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text without keys; returns the length that was given, as callers expect."""
        self._stream.write(redacted(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def report_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Write the traceback of an error that nobody caught, without keys: a ``sys.excepthook``."""
    import sys
    import traceback

    sys.stderr.write(redacted("".join(traceback.format_exception(kind, error, trace))))
