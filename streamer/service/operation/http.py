"""A small HTTP server in a thread of its own, for those who watch the service."""

from __future__ import annotations

import ipaddress
import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET, AF_INET6
from typing import Any, Self

from ...errors import ConfigError

logger = logging.getLogger(__name__)

_REQUEST_S = 5.0

_MOST_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Answer:
    """What a path answers."""

    body: bytes
    content_type: str
    status: HTTPStatus = HTTPStatus.OK

    @classmethod
    def json(cls, content: Mapping[str, Any], status: HTTPStatus = HTTPStatus.OK) -> Answer:
        """Answer with plain data."""
        return cls(json.dumps(content, indent=1).encode(), "application/json", status)


Routes = Mapping[str, Callable[[], Answer]]


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
    if not public and not is_loopback(host):
        raise ConfigError(
            f"--http {text} can be reached from other machines, without any password; take "
            f"127.0.0.1:{port}, or add --http-public if the network is trusted"
        )
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine and reached from it alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class StatusServer:
    """Answers GET requests from a fixed table of paths; use it as a context manager.

    Parameters
    ----------
    address : host and port; port 0 picks a free one.
    routes : what each path answers; called in the thread of the request.

    Raises
    ------
    ConfigError
        On entering, if the address cannot be listened at.
    """

    def __init__(self, address: tuple[str, int], routes: Routes) -> None:
        self._address = address
        self._routes = routes
        self._server: _Server | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that are listened at."""
        if self._server is None:
            return self._address
        host, port = self._server.server_address[:2]
        return str(host), int(port)

    @property
    def host_and_port(self) -> str:
        """Where it listens, as it stands in an address."""
        host, port = self.address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def __enter__(self) -> Self:
        """Begin to answer."""
        try:
            self._server = _Server(self._address, self._routes)
        except (OSError, OverflowError) as error:
            host, port = self._address
            raise ConfigError(f"cannot listen at {host}:{port}: {error}; is it in use?") from error
        server = self._server
        threading.Thread(
            target=lambda: server.serve_forever(poll_interval=0.2),
            name="operando-http",
            daemon=True,
        ).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Stop answering."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], routes: Routes) -> None:
        self.address_family = AF_INET6 if ":" in address[0] else AF_INET
        self.routes = routes
        self.room = threading.BoundedSemaphore(_MOST_AT_ONCE)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a request in a thread, as long as there are not too many of them."""
        if not self.room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a request."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Note that somebody went away in the middle of an answer."""
        logger.debug("a request to the status server broke")


class _Handler(BaseHTTPRequestHandler):
    timeout = _REQUEST_S
    server_version = "operando"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer a request."""
        server: Any = self.server
        route = server.routes.get(self.path.partition("?")[0])
        if route is None:
            paths = sorted(server.routes)
            self._send(Answer.json({"error": "no such path", "paths": paths}, HTTPStatus.NOT_FOUND))
            return
        try:
            answer = route()
        except Exception:  # the next request shall be answered
            logger.exception("cannot answer %s", self.path)
            answer = Answer.json({"error": "see the log"}, HTTPStatus.INTERNAL_SERVER_ERROR)
        self._send(answer)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is http.server's
        """Keep requests out of the log."""
        logger.debug(format, *args)

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(answer.body)
