"""Publish documents from a RunEngine without ever holding it up.

bluesky's own ``Publisher`` does its work in the RunEngine: it copies, encodes and sends there, an
error in any of it aborts the run, and what it sends before the proxy has answered is lost, which
is normally the start document. Here the RunEngine only pays for the encoding, everything else is
another thread's, and that one knows when the proxy listens.
"""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import zmq
from pydantic import ValidationError
from zmq.utils.monitor import recv_monitor_message

from ..streamer.errors import ConfigError
from ..streamer.io.wire.codec import dumps
from ..streamer.io.wire.curve import CurveSettings
from ..streamer.io.wire.message import DOCUMENT_NAMES, ESSENTIAL, check_prefix
from ..streamer.io.wire.queue import ByteQueue
from ..streamer.io.wire.sockets import apply_curve, endpoint, keep_alive

log = logging.getLogger(__name__)
_POLL_MS = 50
_SEND_HIGH_WATER = 32  # messages in 0MQ's own hands: few, as our queue counts bytes; by eye
_LINGER_MS = 2000  # for what 0MQ holds at the end; by eye
_SUBSCRIBED = b"\x01"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublisherCounters:
    """Numbers of a publisher; ``offered = sent + dropped + failed + queued``.

    Attributes
    ----------
    offered : documents the RunEngine handed over.
    sent : given to 0MQ while somebody listened.
    dropped : given up because nobody listened, or not fast enough, and the queue was full.
    failed : could not be encoded.
    queued, queued_bytes : waiting now, and their bytes.
    """

    offered: int = 0
    sent: int = 0
    dropped: int = 0
    failed: int = 0
    queued: int = 0
    queued_bytes: int = 0


class FramePublisher:
    """A callback for ``RE.subscribe`` that sends documents to a 0MQ proxy.

    It never raises into the RunEngine and never waits: a document is encoded at once (arrays are
    copied, as detectors re-use their buffers) and queued. What cannot be queued is counted and
    logged. Nothing is sent before the proxy listens, so the first documents are not lost.

    Parameters
    ----------
    address : in side of the proxy, ``host:port`` or ``tcp://host:port``; 5577 by convention.
    prefix : tells several publishers on one proxy apart; no spaces.
    serializer : makes bytes of a document; None: msgpack, which any `ZmqSource` reads.
    max_bytes : bytes of messages that may wait for the proxy.
    curve : CURVE keys: `CurveSettings` or bluesky's ``ClientCurve``.

    Raises
    ------
    ConfigError
        The address, the prefix or the keys cannot be used (at construction only).
    """

    def __init__(
        self,
        address: str,
        prefix: bytes = b"",
        *,
        serializer: Callable[[Any], bytes] | None = None,
        max_bytes: int = 1 << 29,
        curve: Any = None,
    ) -> None:
        self._endpoint = endpoint(address)
        self._prefix = check_prefix(prefix)
        self._serialize = serializer or dumps
        self._queue: ByteQueue[bytes] = ByteQueue(max_bytes, "drop")
        self._lock = threading.Lock()
        self._offered = self._failed = self._sent = self._in_hand = 0
        self._stopping = threading.Event()
        self._context = zmq.Context()
        try:
            socket = self._configured(curve)
            monitor = socket.get_monitor_socket(zmq.Event.DISCONNECTED)
            socket.connect(self._endpoint)
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            raise ConfigError(f"cannot publish to {self._endpoint}: {error}") from error
        except BaseException:
            self._context.destroy(linger=0)
            raise
        self.connected = threading.Event()
        self._thread = threading.Thread(
            target=self._send_all, args=(socket, monitor), name="operando-publisher", daemon=True
        )
        self._thread.start()
        # An IPython session that just ends would cut off the last documents.
        atexit.register(self.close)

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        """Encode and queue a document; never raises, never waits."""
        try:
            self._offer(name, doc)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not abort the run
            with self._lock:
                self._failed += 1
                first = self._failed == 1
            if first:
                log.warning(
                    "a %s document cannot be published: %s; more are counted, not logged",
                    name,
                    error,
                )

    def forward(self, message: bytes) -> None:
        """Queue a message that has been encoded, whole or not; never waits."""
        with self._lock:
            self._offered += 1
        if not self._queue.put(message, len(message)):
            self._say_dropped()

    def wait_connected(self, timeout: float | None = None) -> bool:
        """Wait up to `timeout` s until the proxy listens."""
        return self.connected.wait(timeout)

    def counters(self) -> PublisherCounters:
        """Return what became of the documents so far."""
        queue = self._queue.counters()
        with self._lock:
            return PublisherCounters(
                offered=self._offered,
                sent=self._sent,
                dropped=queue.dropped,
                failed=self._failed,
                queued=self._offered - self._failed - self._sent - queue.dropped,
                queued_bytes=queue.queued_bytes + self._in_hand,
            )

    def close(self, timeout: float = 5.0) -> bool:
        """Send what is queued for up to `timeout` s, then stop; return whether all was sent."""
        if self._stopping.is_set():
            return self.counters().queued == 0
        atexit.unregister(self.close)
        self._queue.close()
        self._thread.join(timeout)
        self._stopping.set()
        self._thread.join()
        left = self.counters().queued
        if left:
            log.warning("closed with %d documents not sent to %s", left, self._endpoint)
        return left == 0

    def _offer(self, name: str, doc: dict[str, Any]) -> None:
        with self._lock:
            self._offered += 1
        if name not in DOCUMENT_NAMES or not isinstance(doc, dict):
            raise ValueError("not a Bluesky document")
        message = b" ".join((self._prefix, name.encode(), self._serialize(doc)))
        if not self._queue.put(message, len(message), essential=name in ESSENTIAL):
            self._say_dropped()

    def _say_dropped(self) -> None:
        queue = self._queue.counters()
        if queue.dropped == 1:
            log.warning(
                "dropped a document: %d bytes wait for %s (%s); more are counted, not logged",
                queue.queued_bytes,
                self._endpoint,
                "connected" if self.connected.is_set() else "nobody listens",
            )

    def _configured(self, curve: Any) -> zmq.Socket[bytes]:
        # XPUB is a PUB that tells of subscriptions, also of renewed ones, and can refuse to drop.
        socket = self._context.socket(zmq.XPUB)
        socket.xpub_nodrop = 1
        socket.xpub_verboser = 1
        socket.sndhwm = _SEND_HIGH_WATER
        keep_alive(socket)
        if curve is not None:
            apply_curve(socket, _curve_settings(curve))
        return socket

    def _send_all(self, socket: zmq.Socket[bytes], monitor: zmq.Socket[bytes]) -> None:
        try:
            while not self._stopping.is_set() and not self._queue.exhausted:
                self._watch(socket, monitor)
                if self.connected.is_set():
                    for message in self._queue.take(1, timeout=_POLL_MS / 1000):
                        self._send(socket, monitor, message)
        finally:
            self.connected.clear()
            socket.disable_monitor()
            monitor.close(linger=0)
            socket.close(linger=_LINGER_MS)
            self._context.term()

    def _watch(self, socket: zmq.Socket[bytes], monitor: zmq.Socket[bytes]) -> None:
        """Take note of who listens; while nobody does, wait a little for somebody."""
        socket.poll(0 if self.connected.is_set() else _POLL_MS)
        while monitor.poll(0):
            recv_monitor_message(monitor)
            self.connected.clear()
        while socket.poll(0):
            if socket.recv()[:1] == _SUBSCRIBED:
                self.connected.set()
            else:
                self.connected.clear()

    def _send(self, socket: zmq.Socket[bytes], monitor: zmq.Socket[bytes], message: bytes) -> None:
        self._in_hand = len(message)
        while not self._stopping.is_set():
            if self.connected.is_set() and socket.poll(_POLL_MS, zmq.POLLOUT):
                try:
                    socket.send(message, zmq.NOBLOCK, copy=False)
                except zmq.Again:
                    continue
                with self._lock:
                    self._sent += 1
                    self._in_hand = 0
                return
            self._watch(socket, monitor)


def _curve_settings(curve: Any) -> CurveSettings:
    if hasattr(curve, "client_public_keys"):
        raise ConfigError(
            "a publisher connects to the proxy and so takes a ClientCurve, got a ServerCurve: "
            "that one is for operando forward (or bluesky's Proxy)"
        )
    keys = curve._asdict() if hasattr(curve, "_asdict") else curve
    try:
        return CurveSettings.model_validate(keys)
    except ValidationError as error:
        raise ConfigError(f"the CURVE keys do not fit: {error}") from error
