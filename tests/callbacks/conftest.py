"""Result documents as the output contract has them, made with event_model."""

from __future__ import annotations

import http.client
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import event_model
import numpy as np
import pytest

FRAME_KEYS = {
    "frame": ("integer", ""),
    "raw_seq_num": ("integer", ""),
    "energy": ("number", "eV"),
    "revision": ("integer", ""),
    "drift_y": ("number", "px"),
    "drift_x": ("number", "px"),
    "drift_sigma": ("number", "px"),
    "strain_yy": ("number", ""),
    "strain_xx": ("number", ""),
    "strain_yx": ("number", ""),
    "rotation": ("number", "rad"),
    "n_particles": ("integer", ""),
    "status": ("string", ""),
    "reason": ("string", ""),
    "latency": ("number", "s"),
}
# fmt: off
PARTICLE_NUMBERS = [
    "y", "x", "sigma_y", "sigma_x", "displacement_y", "displacement_x", "velocity_y",
    "velocity_x", "acceleration_y", "acceleration_x", "path_length", "residual_y",
    "residual_x", "area", "od_mean", "ssim",
]
# fmt: on
PARTICLE_KEYS = {
    "frame": ("integer", ""),
    "energy": ("number", "eV"),
    "revision": ("integer", ""),
    "particle": ("integer", ""),
    "state": ("string", ""),
    **dict.fromkeys(PARTICLE_NUMBERS, ("number", "px")),
}
NUMPY = {"integer": "<i8", "number": "<f8", "string": "<U16"}

Documents = list[tuple[str, dict[str, Any]]]


def data_keys(
    scalars: dict[str, tuple[str, str]], array: str, shape: tuple[int, ...]
) -> dict[str, Any]:
    keys: dict[str, Any] = {
        name: {
            "source": "operando",
            "dtype": dtype,
            "dtype_numpy": NUMPY[dtype],
            "shape": [],
            "units": units,
        }
        for name, (dtype, units) in scalars.items()
    }
    keys[array] = {
        "source": "operando",
        "dtype": "array",
        "dtype_numpy": "<f4",
        "shape": list(shape),
        "units": "OD",
    }
    return keys


def frame_data(rng: np.random.Generator, i: int, particles: int, shape: tuple[int, int]) -> dict:
    data = {name: float(rng.normal()) for name in FRAME_KEYS}
    data |= {"frame": i, "raw_seq_num": i + 1, "revision": 0, "n_particles": particles}
    data |= {"energy": 8300.0 + i, "latency": float(np.random.default_rng().random())}
    data |= {"status": "degraded" if i % 4 == 3 else "aligned", "reason": ""}
    return {**data, "aligned": rng.random(shape, dtype=np.float32)}


def particle_data(rng: np.random.Generator, i: int, j: int, side: int) -> dict:
    data = {name: float(rng.normal()) for name in PARTICLE_NUMBERS}
    data |= {"frame": i, "energy": 8300.0 + i, "revision": 0, "particle": j}
    data |= {"state": "tracked" if i else "tentative"}
    return {**data, "roi": rng.random((side, side), dtype=np.float32)}


def compose(
    frames: int = 4,
    *,
    particles: int = 3,
    shape: tuple[int, int] = (20, 24),
    side: int = 8,
    uid: str | None = None,
    seed: int = 0,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Documents of one result run; equal for equal arguments, but for `latency` and uids."""
    rng = np.random.default_rng(seed)
    run = event_model.compose_run(
        uid=uid or str(uuid.uuid4()),
        time=1000.0,
        metadata={
            "original_run_uid": "raw",
            "purpose": "processed",
            "plan_name": "operando",
            "sample": "NMC",
            "operando": {"version": "0", "profile": "test"},
        },
    )
    yield "start", dict(run.start_doc)
    stream_f = run.compose_descriptor(
        name="frames", data_keys=data_keys(FRAME_KEYS, "aligned", shape)
    )
    stream_p = run.compose_descriptor(
        name="particles", data_keys=data_keys(PARTICLE_KEYS, "roi", (side, side))
    )
    yield "descriptor", dict(stream_f.descriptor_doc)
    yield "descriptor", dict(stream_p.descriptor_doc)
    for i in range(frames):
        for stream, data in (
            *((stream_p, particle_data(rng, i, j, side)) for j in range(particles)),
            (stream_f, frame_data(rng, i, particles, shape)),
        ):
            time = 1000.0 + i
            stamps = dict.fromkeys(data, time)
            yield "event", dict(stream.compose_event(data=data, timestamps=stamps, time=time))
    stop = run.compose_stop(exit_status="success", reason="", time=2000.0)
    yield "stop", {**stop, "ledger": {"received": frames}}


@pytest.fixture
def documents() -> Callable[..., Documents]:
    """Make the documents of a result run: ``documents(frames, particles=, uid=, seed=...)``."""
    return lambda *args, **kwargs: list(compose(*args, **kwargs))


class FaultProxy:
    """A real HTTP server before another one, that can be told to misbehave.

    Attributes
    ----------
    mode : ``pass``; ``500``: answers so, and passes nothing on; ``cut``: passes every third request
        on and hangs up instead of answering it; ``slow``: passes on after `delay`; ``hang``: takes
        requests and does not answer before `delay`.
    seen : number of requests by mode.
    """

    def __init__(self, port: int) -> None:
        self.mode = "pass"
        self.delay = 0.5
        self.seen: Counter[str] = Counter()
        self.upstream = port
        handler = type("Handler", (_FaultHandler,), {"proxy": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def uri(self, key: str) -> str:
        return f"http://127.0.0.1:{self.port}?api_key={key}"

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _FaultHandler(BaseHTTPRequestHandler):
    proxy: FaultProxy
    protocol_version = "HTTP/1.1"

    def _any(self) -> None:
        proxy, mode = self.proxy, self.proxy.mode
        proxy.seen[mode] += 1
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if mode == "500":
            self._answer(500, [("Content-Type", "text/plain")], b"out of order")
            return
        if mode == "hang":
            time.sleep(proxy.delay)
            self._hang_up()
            return
        if mode == "slow":
            time.sleep(proxy.delay)
        status, headers, content = self._forward(body)
        if mode == "cut" and proxy.seen["cut"] % 3 == 0:
            self._hang_up()
            return
        self._answer(status, headers, content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.proxy.upstream, timeout=60)
        try:
            headers = {k: v for k, v in self.headers.items() if k.lower() != "connection"}
            connection.request(self.command, self.path, body, headers)
            response = connection.getresponse()
            return response.status, response.getheaders(), response.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response_only(status)
        for key, value in headers:
            if key.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:  # the other side gave up waiting
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def fault_proxy(tiled_server: Any) -> Iterator[FaultProxy]:
    """A proxy before the Tiled server of the tests."""
    proxy = FaultProxy(tiled_server.port)
    yield proxy
    proxy.stop()
