"""The web application: a page, its live messages, and images. It takes nothing but questions."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.resources import files
from urllib.parse import urlsplit

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from ...errors import ConfigError
from ...io.wire.sockets import is_loopback_host
from .pictures import PictureStore
from .reader import Reader

logger = logging.getLogger(__name__)
MOST_VIEWERS = 64
_LONGEST_RUN = 200
_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


class _Secured:
    """Adds the headers that keep a browser from doing what the page does not need."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self.app(scope, receive, secured if scope["type"] == "http" else send)


def make_app(uri: str, hosts: Sequence[str]) -> Starlette:
    """Make the application.

    Parameters
    ----------
    uri : address of the Tiled server, without a key.
    hosts : names under which browsers may reach it; ``*`` for any.
    """
    hub = Hub()
    reader = Reader(uri, hub.send)
    store = PictureStore(reader.image)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        hub.open(asyncio.get_running_loop())
        with reader:
            yield
            hub.close()

    routes = [
        *_static_routes(),
        Route("/healthz", partial(_health, reader, hub)),
        Route("/picture/{run}/{stream}/{key}/{row:int}", partial(_picture, reader, store)),
        WebSocketRoute("/live", partial(_live, reader, hub)),
    ]
    middleware = [
        Middleware(_Secured),
        Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False),
    ]
    return Starlette(routes=routes, middleware=middleware, lifespan=lifespan)


def _static_routes() -> list[Route]:
    """One route per file that is shipped: no path of a request is ever looked up on a disk."""
    routes = []
    for file in (files(__name__.rpartition(".")[0]) / "static").iterdir():
        suffix = f".{file.name.rpartition('.')[2]}"
        if suffix in _TYPES:
            path = "/" if file.name == "index.html" else f"/{file.name}"
            routes.append(Route(path, partial(_file, file.read_bytes(), _TYPES[suffix])))
    return routes


async def _file(content: bytes, media_type: str, _request: Request) -> Response:
    return Response(content, media_type=media_type, headers={"Cache-Control": "no-cache"})


async def _health(reader: Reader, hub: Hub, _request: Request) -> Response:
    trouble = reader.trouble
    answer = {"ok": trouble is None, "viewers": hub.count, "trouble": trouble and trouble.what}
    return JSONResponse(answer, status_code=200 if trouble is None else 503)


async def _picture(reader: Reader, store: PictureStore, request: Request) -> Response:
    given = request.path_params
    where = (given["run"], given["stream"], given["key"], given["row"])
    shape = reader.shape(where)  # only what the reader knows of is ever asked for
    if shape is None:
        return JSONResponse({"error": "no such image"}, status_code=404)
    try:
        picture = await run_in_threadpool(store.get, where, shape)
    except httpx.HTTPError as error:
        logger.info("image %s: %s", where, type(error).__name__)
        return JSONResponse({"error": "Tiled does not give the image"}, status_code=502)
    height, width = picture.data.shape
    headers = {
        "X-Height": str(height),
        "X-Width": str(width),
        "X-Step": str(picture.step),
        "X-Low": repr(picture.low),
        "X-High": repr(picture.high),
        "Cache-Control": "private, max-age=600" if picture.data.any() else "no-store",
    }
    return Response(picture.data.tobytes(), media_type="application/octet-stream", headers=headers)


async def _live(reader: Reader, hub: Hub, socket: WebSocket) -> None:
    if not _same_origin(socket.headers) or hub.count >= MOST_VIEWERS:
        await socket.close(1008)
        return
    await socket.accept()
    viewer = hub.join()
    reading = asyncio.create_task(_receive(reader, viewer, socket))
    try:
        await _send_all(viewer, socket)
    except (WebSocketDisconnect, RuntimeError):  # starlette's word for a socket that is gone
        logger.debug("viewer %d went away", viewer.number)
    finally:
        reading.cancel()
        hub.leave(viewer)
        reader.look(viewer.number, None)


async def _send_all(viewer: Viewer, socket: WebSocket) -> None:
    while (payload := await viewer.take()) is not None:
        if isinstance(payload, str):
            await socket.send_text(payload)
        else:
            await socket.send_bytes(payload)
    await socket.close(1013)


async def _receive(reader: Reader, viewer: Viewer, socket: WebSocket) -> None:
    """Hear which run the viewer wants to see, until it goes away."""
    with contextlib.suppress(WebSocketDisconnect, RuntimeError, KeyError):
        while True:
            try:
                wanted = json.loads(await socket.receive_text())["run"]
            except (ValueError, TypeError):
                break
            if not isinstance(wanted, str) or len(wanted) > _LONGEST_RUN:
                break
            reader.look(viewer.number, wanted)
    viewer.waiting.put_nowait(None)


def _same_origin(headers: Headers) -> bool:
    """Return whether a page of ours asks: browsers let any page open websockets to any host."""
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


# Where the dashboard listens.


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
        if not public and not is_loopback_host(host):
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
        """Return the address for a browser."""
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


Payload = str | bytes
_MOST_BYTES = 64 << 20
_DROPPABLE_BEHIND = 4


@dataclass(eq=False, slots=True)
class Viewer:
    """One page. Its queue lives in the event loop of the web server.

    Attributes
    ----------
    number : its number.
    waiting : messages on their way to it; None ends it.
    held : bytes that wait.
    """

    number: int
    waiting: asyncio.Queue[Payload | None] = field(default_factory=asyncio.Queue)
    held: int = 0

    def offer(self, payload: Payload, *, droppable: bool) -> bool:
        """Queue a message; return False if the viewer is too far behind."""
        if droppable and self.waiting.qsize() >= _DROPPABLE_BEHIND:
            return True
        self.held += len(payload)
        self.waiting.put_nowait(payload)
        return self.held <= _MOST_BYTES

    async def take(self) -> Payload | None:
        """Wait for the next message; None at the end."""
        payload = await self.waiting.get()
        self.held -= 0 if payload is None else len(payload)
        return payload


class Hub:
    """All viewers; `send` may be called from any thread, the rest from the event loop."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._viewers: dict[int, Viewer] = {}
        self._next = 1

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin, in the event loop of the web server."""
        self._loop = loop

    def close(self) -> None:
        """Send all viewers away."""
        for viewer in tuple(self._viewers.values()):
            self.leave(viewer)
        self._loop = None

    def join(self) -> Viewer:
        """Add a viewer."""
        viewer = Viewer(self._next)
        self._viewers[viewer.number] = viewer
        self._next += 1
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """Remove a viewer."""
        if self._viewers.pop(viewer.number, None) is not None:
            viewer.waiting.put_nowait(None)

    @property
    def count(self) -> int:
        """Number of viewers."""
        return len(self._viewers)

    def send(self, numbers: Iterable[int], payload: Payload, *, droppable: bool = False) -> None:
        """Send a message to some viewers; one that is too far behind is sent away."""
        loop, chosen = self._loop, tuple(numbers)
        if loop is not None and chosen and not loop.is_closed():
            loop.call_soon_threadsafe(self._deliver, chosen, payload, droppable)

    def _deliver(self, numbers: tuple[int, ...], payload: Payload, droppable: bool) -> None:
        for number in numbers:
            viewer = self._viewers.get(number)
            if viewer is not None and not viewer.offer(payload, droppable=droppable):
                self.leave(viewer)
