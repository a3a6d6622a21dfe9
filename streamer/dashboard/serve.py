"""Where the dashboard listens."""

from __future__ import annotations

import socket

import uvicorn

from ..errors import ConfigError
from ..operation.http import is_loopback
from .web import make_app

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


class Dashboard:
    """The dashboard's web server.

    Parameters
    ----------
    uri : address of the Tiled server, without a key.
    host : address to listen at. port : 0 picks a free one.
    public : whether other machines may reach it; there is no password.

    Raises
    ------
    ConfigError
        The address cannot be listened at, or other machines would reach it unasked for.
    """

    def __init__(self, uri: str, host: str, port: int, *, public: bool) -> None:
        if not public and not is_loopback(host):
            raise ConfigError(
                f"--host {host} can be reached from other machines, without any password; take "
                "127.0.0.1 (and ssh -L), or add --public if the network is trusted"
            )
        self._socket = _bound_socket(host, port)
        self.host, self.port = host, int(self._socket.getsockname()[1])
        hosts = ("*",) if public else LOOPBACK_NAMES
        self._server = uvicorn.Server(
            uvicorn.Config(
                make_app(uri, hosts),
                log_config=None,
                access_log=False,
                server_header=False,
                ws_max_size=4096,
                ws_per_message_deflate=False,
                timeout_graceful_shutdown=2,
            )
        )

    @property
    def address(self) -> str:
        """Where to point a browser."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def run(self) -> None:
        """Serve until SIGINT or SIGTERM."""
        self._server.run(sockets=[self._socket])


def _bound_socket(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"cannot listen at {host}:{port}: {error}; is it in use?") from error
