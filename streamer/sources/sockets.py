"""Addresses and keys of 0MQ sockets, alike for those who listen and those who publish."""

from __future__ import annotations

import zmq
import zmq.auth

from ..errors import ConfigError
from .settings import CurveSettings


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


def apply_curve(socket: zmq.Socket[bytes], curve: CurveSettings) -> None:
    """Make a socket a CURVE client.

    Raises
    ------
    ConfigError
        A key file is missing or holds no such key.
    """
    try:
        public, secret = zmq.auth.load_certificate(curve.secret_path)
        server, _ = zmq.auth.load_certificate(curve.server_public_key)
    except (OSError, ValueError) as error:
        raise ConfigError(f"CURVE keys cannot be read: {error}") from error
    if secret is None:
        raise ConfigError(f"{curve.secret_path} has no secret key: name the *.key_secret file")
    socket.curve_publickey = public
    socket.curve_secretkey = secret
    socket.curve_serverkey = server
