"""A small HTTP server in a thread of its own, for those who watch the service."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ...errors import ConfigError
from ...io.wire.sockets import is_loopback_host

logger = logging.getLogger(__name__)
_MOST_AT_ONCE = 256  # connections; bounds open files, by eye
_END_S = 5
Routes = Mapping[str, Callable[[], Response]]


def as_json(content: Mapping[str, Any], status: int = 200) -> Response:
    """Answer with plain data."""
    return Response(json.dumps(content, indent=1), status, media_type="application/json")


def parse_address(text: str, *, public: bool) -> tuple[str, int]:
    """Read ``HOST:PORT``.

    Parameters
    ----------
    text : as the user gave it; ``[::1]:9108`` for IPv6.
    public : whether others than this machine may ask.

    Raises
    ------
    ConfigError
        It is no such address, or one that other machines reach without `public`.
    """
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"--http takes HOST:PORT, e.g. 127.0.0.1:9108, got {text!r}")
    if not public and not is_loopback_host(host):
        raise ConfigError(
            f"--http {text} can be reached from other machines, without any password; take "
            f"127.0.0.1:{port}, or add --http-public if the network is trusted"
        )
    return host, int(port)


class StatusServer:
    """Answers GET requests from a fixed table of paths; use it as a context manager.

    Parameters
    ----------
    address : host and port; port 0 picks a free one.
    routes : what each path answers; called in a thread.

    Raises
    ------
    ConfigError
        On entering, if the address cannot be listened at.
    """

    def __init__(self, address: tuple[str, int], routes: Routes) -> None:
        self.address = address
        self._server = uvicorn.Server(
            uvicorn.Config(
                _application(routes),
                log_config=None,
                log_level="warning",
                lifespan="off",
                server_header=False,
                headers=[("Cache-Control", "no-store")],
                limit_concurrency=_MOST_AT_ONCE,
                timeout_graceful_shutdown=_END_S,
            )
        )

    @property
    def host_and_port(self) -> str:
        """Return where it listens, as it stands in an address."""
        host, port = self.address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def __enter__(self) -> Self:
        """Begin to answer."""
        family = socket.AF_INET6 if ":" in self.address[0] else socket.AF_INET
        try:
            listener = socket.create_server(self.address, family=family)
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"cannot listen at {self.host_and_port}: {error}; is it in use?"
            ) from error
        self.address = listener.getsockname()[:2]
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name="operando-http", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Stop answering."""
        self._server.should_exit = True
        self._thread.join(2 * _END_S)


def _application(routes: Routes) -> Starlette:
    def no_such_path(_request: Request, _error: Exception) -> Response:
        return as_json({"error": "no such path", "paths": sorted(routes)}, 404)

    return Starlette(
        routes=[Route(path, _endpoint(path, answer)) for path, answer in routes.items()],
        exception_handlers={404: no_such_path},
    )


def _endpoint(path: str, answer: Callable[[], Response]) -> Callable[[Request], Response]:
    def endpoint(_request: Request) -> Response:
        try:
            return answer()
        except Exception:  # the next request shall be answered
            logger.exception("cannot answer %s", path)
            return as_json({"error": "see the log"}, 500)

    return endpoint
