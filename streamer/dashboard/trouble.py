"""What is wrong with the Tiled server, and what to do about it, in words for an operator."""

from __future__ import annotations

from dataclasses import dataclass

import httpx

from ..redact import redacted
from ..tiled_key import SERVICE, key_user


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One trouble: what it is, and its remedy."""

    what: str
    remedy: str


def trouble_of(error: Exception, uri: str) -> Trouble:
    """Put an error of a request to Tiled in words.

    Parameters
    ----------
    error : what a request raised. uri : address of the server.
    """
    shown = redacted(uri.partition("?")[0])
    if isinstance(error, httpx.HTTPStatusError):
        return _refused(error.response.status_code, shown)
    if isinstance(error, httpx.TimeoutException):
        return Trouble(
            what=f"the Tiled server at {shown} does not answer in time",
            remedy="It may be overloaded or restarting; this page tries again by itself.",
        )
    if isinstance(error, httpx.UnsupportedProtocol):
        return Trouble(
            what=f"{shown} is not the address of a Tiled server",
            remedy="Start the dashboard with --tiled http://HOST:PORT.",
        )
    if isinstance(error, httpx.HTTPError | OSError):
        return Trouble(
            what=f"no Tiled server answers at {shown}",
            remedy="Is it running, and does --tiled name the right machine and port? Nothing is "
            "lost: the processor keeps its results until the server is back. This page tries "
            "again by itself.",
        )
    return Trouble(
        what=f"what {shown} answers cannot be understood ({type(error).__name__})",
        remedy="The log of the dashboard tells more; this page tries again by itself.",
    )


def _refused(status: int, shown: str) -> Trouble:
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return Trouble(
            what=f"the Tiled server at {shown} does not let the dashboard in",
            remedy="Set TILED_API_KEY to a key that may read, or store one with: keyring set "
            f"{SERVICE} {key_user(shown)}; then start the dashboard again.",
        )
    return Trouble(
        what=f"the Tiled server at {shown} answers with status {status}",
        remedy="Its log tells why; this page tries again by itself.",
    )
