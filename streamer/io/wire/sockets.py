"""Addresses and keys of 0MQ sockets, alike for those who listen and those who publish."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import zmq
import zmq.auth

from ...errors import ConfigError
from .curve import CurveServerSettings, CurveSettings

REFUSED = (
    zmq.Event.HANDSHAKE_FAILED_NO_DETAIL
    | zmq.Event.HANDSHAKE_FAILED_PROTOCOL
    | zmq.Event.HANDSHAKE_FAILED_AUTH
)
"""Events of a socket's monitor that tell of somebody who was not let in."""
HEARTBEAT_S = 5.0
"""Between pings that notice a dead connection, s; by eye: TCP itself takes minutes."""


def endpoint(address: str) -> str:
    """Return the 0MQ endpoint of ``host:port`` or of a full ``tcp://`` or ``ipc://`` address.

    Raises
    ------
    ConfigError
        The address has neither a scheme nor a port.
    """
    if "://" in address:
        return address
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(f"a 0MQ address is host:port or tcp://host:port, got {address!r}")
    return f"tcp://{address}"


def keep_alive(socket: zmq.Socket[bytes], heartbeat: float = HEARTBEAT_S) -> None:
    """Have a socket notice a dead connection after three pings, and reconnect within 2 s."""
    milliseconds = int(1000 * heartbeat)
    socket.heartbeat_ivl = milliseconds
    socket.heartbeat_timeout = 3 * milliseconds
    socket.reconnect_ivl_max = 2000


def apply_curve(socket: zmq.Socket[bytes], curve: CurveSettings) -> None:
    """Make a socket a CURVE client.

    Raises
    ------
    ConfigError
        A key file is missing or holds no such key.
    """
    public, secret = _key_pair(curve.secret_path)
    socket.curve_publickey = public
    socket.curve_secretkey = secret
    socket.curve_serverkey = _certificate(curve.server_public_key)[0]


def apply_curve_server(socket: zmq.Socket[bytes], curve: CurveServerSettings, domain: str) -> None:
    """Make a socket a CURVE server; a ZAP authenticator decides about clients by `domain`.

    Raises
    ------
    ConfigError
        A key file is missing or holds no such key.
    """
    public, secret = _key_pair(curve.secret_path)
    socket.curve_publickey = public
    socket.curve_secretkey = secret
    socket.curve_server = True
    socket.zap_domain = domain.encode()


def is_loopback(address: str) -> bool:
    """Return whether only this computer can reach what is bound to an address."""
    scheme, _, rest = endpoint(address).partition("://")
    if scheme in ("ipc", "inproc"):
        return True
    return is_loopback_host(rest.rpartition(":")[0].strip("[]"))


def is_loopback_host(host: str) -> bool:
    """Return whether a host is this computer and reached from it alone."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:  # a name or "*": whatever it stands for today, it may be anything tomorrow
        return False


def _key_pair(path: Path) -> tuple[bytes, bytes]:
    public, secret = _certificate(path)
    if secret is None:
        raise ConfigError(f"{path} has no secret key: name the *.key_secret file")
    return public, secret


def _certificate(path: Path) -> tuple[bytes, bytes | None]:
    try:
        return zmq.auth.load_certificate(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"CURVE keys cannot be read: {error}") from error
