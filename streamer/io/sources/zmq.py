"""Documents from a 0MQ proxy, without bluesky's dispatcher.

bluesky's ``RemoteDispatcher`` runs callbacks on its receiving loop, cannot say when it is
connected and dies of an unknown document name. Here a thread owns a plain SUB socket; readiness
comes from the socket's own monitor.
"""

from __future__ import annotations

import logging
import time
from typing import ClassVar, Literal

import zmq
from pydantic import Field, field_validator
from zmq.utils.monitor import recv_monitor_message

from ...errors import ConfigError
from ..wire.codec import BadMessageError, Limits
from ..wire.curve import CurveSettings, WireSettings
from ..wire.message import check_prefix, unpack
from ..wire.sockets import HEARTBEAT_S, REFUSED, apply_curve, endpoint, keep_alive
from .queued import QueuedSource

log = logging.getLogger(__name__)
_POLL_MS = 100
_BURST = 64
_WATCHED = zmq.Event.HANDSHAKE_SUCCEEDED | zmq.Event.DISCONNECTED | REFUSED


class ZmqSourceSettings(WireSettings):
    """Listening to a 0MQ proxy."""

    address: str = Field(
        default="localhost:5578",
        description="Out side of the proxy: host:port, tcp://host:port or ipc://path",
    )
    prefix: bytes = Field(default=b"", description="Publisher to listen to; empty listens to all")
    max_bytes: int = Field(
        default=1 << 30, gt=0, description="Bytes of documents that may wait to be processed"
    )
    when_full: Literal["drop", "block"] = Field(
        default="drop",
        description="drop: count and drop data documents (start, descriptor, stop are kept); "
        "block: stop receiving, whereupon the proxy drops without telling",
    )
    max_message_bytes: int = Field(
        default=1 << 29, gt=0, description="Longest message accepted, bytes"
    )
    receive_high_water: int = Field(
        default=1000, gt=0, description="Messages that 0MQ itself may hold for us (RCVHWM)"
    )
    heartbeat: float = Field(
        default=HEARTBEAT_S, gt=0, description="s between pings that notice a dead connection"
    )
    settle: float = Field(
        default=0.05,
        ge=0,
        description="s between the handshake and `ready`, in which the subscription travels to the "
        "proxy; more than one round trip",
    )
    curve: CurveSettings | None = Field(default=None, description="CURVE keys; none: in the clear")

    @field_validator("curve", mode="before")
    @classmethod
    def _from_client_curve(cls, value: object) -> object:
        as_dict = getattr(value, "_asdict", None)
        return as_dict() if as_dict else value


class ZmqSource(QueuedSource):
    """Subscriber of a proxy (out side, 5578 by convention) or of a publisher that binds.

    Parameters
    ----------
    settings : see `ZmqSourceSettings`.
    """

    Settings: ClassVar = ZmqSourceSettings

    def __init__(self, settings: ZmqSourceSettings) -> None:
        super().__init__(settings.max_bytes, settings.when_full)
        self._settings = settings
        self._endpoint = endpoint(settings.address)
        self._prefix = check_prefix(settings.prefix)
        self._limits = Limits(
            max_message_bytes=settings.max_message_bytes,
            max_array_bytes=settings.max_message_bytes,
        )
        self._status = "not opened"
        self._ready_at: float | None = None

    @property
    def status(self) -> str:
        """Return the state of the connection in words."""
        return self._status

    def _receive(self) -> None:
        with zmq.Context() as context:
            socket = context.socket(zmq.SUB)
            monitor = socket.get_monitor_socket(_WATCHED)
            try:
                self._configure(socket)
                self._status = f"connecting to {self._endpoint}"
                socket.connect(self._endpoint)
                self._loop(socket, monitor)
            except zmq.ZMQError as error:
                raise ConfigError(f"cannot listen to {self._endpoint}: {error}") from error
            finally:
                self.ready.clear()
                self._status = "closed"
                socket.disable_monitor()
                monitor.close(linger=0)
                socket.close(linger=0)

    def _configure(self, socket: zmq.Socket[bytes]) -> None:
        socket.rcvhwm = self._settings.receive_high_water
        # Beyond this 0MQ hangs up; up to it a message that is too long is counted with its reason.
        socket.maxmsgsize = 4 * self._settings.max_message_bytes
        keep_alive(socket, self._settings.heartbeat)
        if self._settings.curve is not None:
            apply_curve(socket, self._settings.curve)
        socket.subscribe(b"")

    def _loop(self, socket: zmq.Socket[bytes], monitor: zmq.Socket[bytes]) -> None:
        poller = zmq.Poller()
        poller.register(socket, zmq.POLLIN)
        poller.register(monitor, zmq.POLLIN)
        while not self._stopping.is_set():
            happened = dict(poller.poll(_POLL_MS if self._ready_at is None else 5))
            if monitor in happened:
                self._connection(recv_monitor_message(monitor)["event"])
            if self._ready_at is not None and time.monotonic() >= self._ready_at:
                self._ready_at = None
                self._status = f"connected to {self._endpoint}"
                self.ready.set()
            if socket in happened:
                self._messages(socket)

    def _connection(self, event: int) -> None:
        if event == zmq.Event.HANDSHAKE_SUCCEEDED:
            self._ready_at = time.monotonic() + self._settings.settle
            return
        self._ready_at = None
        if event == zmq.Event.DISCONNECTED:
            if self.ready.is_set():
                log.warning("lost the connection to %s; reconnecting", self._endpoint)
                self._count(disconnects=1)
                self._status = f"reconnecting to {self._endpoint}"
            self.ready.clear()
        elif not self._status.startswith("refused"):
            self._status = f"refused by {self._endpoint}: do the CURVE keys match?"
            log.warning("%s", self._status)

    def _messages(self, socket: zmq.Socket[bytes]) -> None:
        for _ in range(_BURST):
            try:
                frame = socket.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            self._message(frame)
            if self._stopping.is_set():
                return

    def _message(self, frame: zmq.Frame) -> None:
        received_at = time.time()
        length = len(frame)
        try:
            named = unpack(frame.buffer, self._prefix, self._limits)
        except BadMessageError as error:
            self._refuse(error, length)
            return
        if named is None:
            self._count(received=1, ignored=1, bytes=length)
        elif not self._admit(*named, received_at, length):
            self._say_dropped()

    def _refuse(self, error: BadMessageError, length: int) -> None:
        if self._count_bad(error.kind, length):
            log.warning(
                "dropped a message of %d bytes: %s; more of this kind are counted, not logged",
                length,
                error,
            )

    def _say_dropped(self) -> None:
        queue = self._queue.counters()
        if queue.dropped == 1 and not self._stopping.is_set():
            log.warning(
                "dropped a document: %d bytes wait to be processed; more are counted, not logged",
                queue.queued_bytes,
            )
