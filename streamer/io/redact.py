"""Takes secrets out of whatever is written down: logs, messages, what a child process prints."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from types import TracebackType
from typing import Any, TextIO

KEY_VARIABLES = ("TILED_API_KEY", "TILED_SINGLE_USER_API_KEY")
HIDDEN = "***"
_SHORTEST = 4  # a shorter "key" would blot out half of every text
_SHORTEST_SECRET = 6  # of other variables, whose values may be ordinary words
_NAMES_OF_SECRETS = re.compile(r"(API_?KEY|SECRET|PASSWORD|PASSWD|TOKEN)S?$", re.IGNORECASE)
_IN_ADDRESS = re.compile(r"(api_key=)[^\s&\"'<>\\)]+", re.IGNORECASE)
_IN_HEADER = re.compile(r"(\bapikey )[^\s\"'<>\\),]+", re.IGNORECASE)

_NAMED = re.compile(
    r"""((?:api[_-]?key|access[_-]?token|refresh[_-]?token|password|passwd|secret)s?
        ['"]?\s*[=:]\s*['"]?)[^\s'"&,;)}\]]+""",
    re.IGNORECASE | re.VERBOSE,
)

_HEADER = re.compile(r"\b(apikey|bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE)
_USERINFO = re.compile(r"(://[^/\s:@]*:)[^/\s@]+@")
_remembered: set[str] = set()


def remember(key: str) -> None:
    """Have a key that comes from somewhere else than the environment hidden too."""
    if len(key) >= _SHORTEST:
        _remembered.add(key)


def redacted(text: str, environment: Mapping[str, str] | None = None) -> str:
    """Replace what is, or looks like, a secret by ``***``.

    Parameters
    ----------
    text : any text.
    environment : variables; the values of those that are called ``*API_KEY``, ``*SECRET``,
        ``*PASSWORD`` or ``*TOKEN`` are secrets wherever they appear. None: those of this process.
    """
    for secret in sorted(_secrets(os.environ if environment is None else environment), key=len)[
        ::-1
    ]:
        text = text.replace(secret, HIDDEN)
    text = _IN_HEADER.sub(rf"\1{HIDDEN}", _IN_ADDRESS.sub(rf"\1{HIDDEN}", text))
    text = _HEADER.sub(rf"\1 {HIDDEN}", _NAMED.sub(rf"\1{HIDDEN}", text))
    return _USERINFO.sub(rf"\1{HIDDEN}@", text)


def _secrets(environment: Mapping[str, str]) -> set[str]:
    keys = {environment.get(variable, "") for variable in KEY_VARIABLES} | _remembered
    others = {v for k, v in environment.items() if _NAMES_OF_SECRETS.search(k)}
    long = {value for value in others if len(value) >= _SHORTEST_SECRET}
    return long | {key for key in keys if len(key) >= _SHORTEST}


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
