"""Whether a Tiled server can be written to, in words."""

from __future__ import annotations

import httpx
from tiled.client.context import Context

from ..tiled_key import SERVICE, key_user, stored_key

_ANSWER_S = 5.0


def tiled_trouble(uri: str) -> str:
    """Ask a Tiled server for something small, once.

    Parameters
    ----------
    uri : its address.

    Returns
    -------
    Why it cannot be used, "" if it can.
    """
    shown = uri.partition("?")[0]  # the rest may hold a key
    try:
        _probe(uri)
    except httpx.UnsupportedProtocol:
        return f"the address of a Tiled server begins with http:// or https://, got {shown!r}"
    except httpx.HTTPStatusError as error:
        return _refused(shown, error.response.status_code)
    except httpx.HTTPError as error:
        return f"no Tiled server answers at {shown}: {error or type(error).__name__}"
    return ""


def _probe(uri: str) -> None:
    # the stock client tries for 45 s to reach a server that is not there
    httpx.get(uri.partition("?")[0], timeout=_ANSWER_S)
    context, _ = Context.from_any_uri(
        uri, api_key=stored_key(uri), timeout=httpx.Timeout(_ANSWER_S)
    )
    with context:
        root = f"{str(context.api_uri).rstrip('/')}/metadata/"
        context.http_client.get(root).raise_for_status()


def _refused(uri: str, status: int) -> str:
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return (
            f"the Tiled server at {uri} does not let us in: set TILED_API_KEY to a valid key, or "
            f"keyring set {SERVICE} {key_user(uri)}"
        )
    return f"{uri} does not answer like a Tiled server (status {status})"
