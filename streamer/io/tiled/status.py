"""State of a Tiled server, reachable or not, and the remedy in words for an operator."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from ..redact import redacted
from .key import SERVICE, key_user, without_key

_ASK_AGAIN_S = 10.0
"""Time for which an answer counts, s; by eye: a look at the health page costs no request more."""

_ANSWER_S = 2.0
"""Longest wait of a check, s; by eye: an answer takes 20 to 40 ms (measured on 2 cores)."""

_FIRST_ANSWER_S = 5.0
"""The same at the start of a command, when a server may still be starting; by eye."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TiledStatus:
    """Trouble with a Tiled server: what it is, and its remedy."""

    what: str
    remedy: str

    def __str__(self) -> str:
        """Return both in one line."""
        return f"{self.what}. {self.remedy}"


def status_of(error: Exception, uri: str) -> TiledStatus:
    """Put an error of a request to Tiled in words.

    Parameters
    ----------
    error : raised by a request. uri : address of the server; a key in it is not shown.
    """
    shown = redacted(without_key(uri))
    if isinstance(error, httpx.HTTPStatusError):
        return _refused(error.response.status_code, shown)
    if isinstance(error, httpx.TimeoutException):
        what = f"the Tiled server at {shown} does not answer in time"
        return TiledStatus(what=what, remedy="It may be overloaded or restarting.")
    if isinstance(error, httpx.UnsupportedProtocol):
        what = f"{shown} is not the address of a Tiled server"
        return TiledStatus(what=what, remedy="Give --tiled http://HOST:PORT.")
    if isinstance(error, httpx.HTTPError | OSError):
        return TiledStatus(
            what=f"no Tiled server answers at {shown}: {redacted(str(error))}",
            remedy="Is it running, and does --tiled name the right machine and port?",
        )
    return TiledStatus(
        what=f"what {shown} answers cannot be understood ({type(error).__name__})",
        remedy="Is that a Tiled server? The log tells more.",
    )


def _refused(status: int, shown: str) -> TiledStatus:
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return TiledStatus(
            what=f"the Tiled server at {shown} does not let us in",
            remedy="Set TILED_API_KEY to a valid key, or store one with: keyring set "
            f"{SERVICE} {key_user(shown)}; then start again.",
        )
    return TiledStatus(
        what=f"the Tiled server at {shown} answers with status {status}",
        remedy="Its log tells why.",
    )


def tiled_trouble(uri: str) -> str:
    """Connect to a Tiled server once; return why it cannot be used, "" if it can."""
    from .connection import connect  # Tiled costs a second to import: only who uses it pays

    try:
        context, _ = connect(uri, _FIRST_ANSWER_S)
        with context:
            root = f"{str(context.api_uri).rstrip('/')}/metadata/"
            context.http_client.get(root).raise_for_status()
    except httpx.HTTPError as error:
        return str(status_of(error, uri))
    return ""


class Reachable:
    """Remembers for some seconds whether a server answered; the processing never asks.

    Parameters
    ----------
    uri : address of the server; a key in it is not sent.
    clock : monotonic clock, s.
    """

    def __init__(self, uri: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._uri = without_key(uri)
        self._clock = clock
        self._lock = threading.Lock()
        self._asked_at: float | None = None
        self._trouble = ""

    def trouble(self) -> str:
        """Return why the server cannot be used, "" if it can; asks it if not done lately."""
        with self._lock:
            now = self._clock()
            if self._asked_at is None or now - self._asked_at > _ASK_AGAIN_S:
                self._trouble = self._ask()
                self._asked_at = self._clock()
            return self._trouble

    def _ask(self) -> str:
        try:
            answer = httpx.get(self._uri, timeout=_ANSWER_S, follow_redirects=True)
            if answer.is_server_error:
                answer.raise_for_status()
        except httpx.HTTPError as error:
            return str(status_of(error, self._uri))
        return ""
