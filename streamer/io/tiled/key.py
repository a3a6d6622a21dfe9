"""The API key of a Tiled server: from the environment, else from the keyring of the system.

It is never taken from the command line, where everybody sees it in the list of processes. To keep
it in the keyring (``pip install operando[keyring]``)::

    keyring set operando http://localhost:8000
"""

from __future__ import annotations

import logging
import os
from urllib.parse import parse_qs, urlsplit

from ...errors import ConfigError
from ..redact import KEY_VARIABLES, remember

logger = logging.getLogger(__name__)
VARIABLE = KEY_VARIABLES[0]
SERVICE = "operando"
"""Name under which keys lie in the keyring; the user is the address of the server."""


def key_user(uri: str) -> str:
    """Return what the keyring calls the user: scheme, host and port of an address."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}".lower()


def stored_key(uri: str) -> str | None:
    """Return the key of a server that lies in the keyring.

    None where the address itself or ``TILED_API_KEY`` gives one, which win (Tiled's client reads
    both), where there is none, and where no keyring is installed or can be opened.
    """
    if has_key(uri) or os.environ.get(VARIABLE):
        return None
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        return None
    try:
        key = keyring.get_password(SERVICE, key_user(uri))
    except KeyringError as error:
        logger.info("the keyring cannot be read (%s); going on without a key", error)
        return None
    if key:
        remember(key)
    return key or None


def has_key(uri: str) -> bool:
    """Tell whether an address holds an API key."""
    return "api_key" in parse_qs(urlsplit(uri).query)


def without_key(uri: str) -> str:
    """Return an address without its query, which may hold a key: safe to show."""
    return uri.partition("?")[0]


def refuse_key_in(uri: str) -> None:
    """Refuse an address with a key on the command line, without telling it once more.

    Raises
    ------
    ConfigError
        It holds one.
    """
    if "://" in uri and has_key(uri):
        raise ConfigError(
            f"{without_key(uri)} was given with an API key, which every user of this computer "
            f"can see in the list of processes: put it into {VARIABLE}, or into the keyring "
            f"(keyring set {SERVICE} {key_user(uri)}), and consider it known"
        )
