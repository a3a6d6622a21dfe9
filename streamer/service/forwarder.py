"""The proxy between beamline and listeners: what comes in goes out to everyone who listens.

The stock ``bluesky-0MQ-proxy`` cannot protect both its sides: `bluesky.callbacks.zmq.Proxy` (seen
in bluesky 1.15.1) starts one ``ThreadAuthenticator`` per side in the same 0MQ context, and the
second fails to bind ``inproc://zeromq.zap.01`` ("Address already in use"), for which there can be
only one per context. It also registers the allowed clients of either side for all ZAP domains, so
that whoever may listen may publish. Here one authenticator serves both sides, and each side has a
domain, with clients, of its own.

Like the stock proxy it subscribes to everything at once, so that a publisher learns when the proxy
listens and a subscriber is one hop away from the documents.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import zmq
from pydantic import Field
from zmq.auth.thread import ThreadAuthenticator
from zmq.utils.monitor import recv_monitor_message

from ..errors import ConfigError
from ..io.wire.curve import CurveServerSettings, Role, WireSettings, server_curve
from ..io.wire.sockets import (
    REFUSED,
    apply_curve_server,
    endpoint,
    is_loopback,
    keep_alive,
)

log = logging.getLogger(__name__)
_POLL_MS = 100
_BURST = 256  # messages between two looks at monitors and the event that ends it


class ForwarderSettings(WireSettings):
    """Settings of a forwarder: where it listens, and whom it lets in."""

    in_address: str = Field(
        default="127.0.0.1:5577", description="Where publishers connect to: host:port of this host"
    )
    out_address: str = Field(
        default="127.0.0.1:5578", description="Where listeners connect to: host:port of this host"
    )
    keys: Path | None = Field(
        default=None, description="Folder of the forwarder's CURVE keys; none: in the clear"
    )
    insecure: bool = Field(
        default=False, description="Whether other computers may be served without keys"
    )
    high_water: int = Field(
        default=1000,
        gt=0,
        description="Messages that may wait for each listener, and from each publisher; what "
        "exceeds it is dropped for that listener and counted",
    )
    max_message_bytes: int = Field(
        default=1 << 29, gt=0, description="Longest message; whoever sends a longer one is cut off"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwarderCounters:
    """Numbers of a forwarder; ``received = forwarded + odd``.

    Attributes
    ----------
    received : messages that came in.
    forwarded : passed on to everyone who listens (perhaps nobody) and has room.
    fell_behind : times that a listener had no room left; it misses that message and more until it
        has room again (how many, 0MQ does not tell; the listener's own ledger does).
    odd : of several parts, which no document is, and so left out.
    bytes : bytes received.
    refused : times that somebody was not let in.
    ignored : messages of listeners, who have nothing to say.
    """

    received: int = 0
    forwarded: int = 0
    fell_behind: int = 0
    odd: int = 0
    bytes: int = 0
    refused: int = 0
    ignored: int = 0


class Forwarder:
    """Binds both sides; use as a context manager, then `run`.

    Parameters
    ----------
    settings : see `ForwarderSettings`.

    Attributes
    ----------
    in_address, out_address : endpoints that were bound, also where port 0 or ``*`` was asked for.

    Raises
    ------
    ConfigError
        An address cannot be bound, is open to other computers without keys, or keys are missing.
    """

    def __init__(self, settings: ForwarderSettings | None = None) -> None:
        self._settings = settings or ForwarderSettings()
        keys = self._settings.keys
        curves = None if keys is None else server_curve(keys)
        if curves is None and not self._settings.insecure:
            _insist_on_loopback(self._settings)
        self._counts = dict.fromkeys(ForwarderCounters.__dataclass_fields__, 0)
        self._context = zmq.Context()
        self._authenticator: ThreadAuthenticator | None = None
        self._sockets: list[zmq.Socket[bytes]] = []
        try:
            if curves is not None:
                self._authenticator = _authenticator(self._context, curves)
            self._in = self._bound(zmq.SUB, self._settings.in_address, curves, "publisher")
            self._out = self._bound(zmq.XPUB, self._settings.out_address, curves, "subscriber")
            self._in.subscribe(b"")
        except BaseException:
            self.close()
            raise
        self.in_address, self.out_address = _endpoint_of(self._in), _endpoint_of(self._out)
        self._monitors = [self._monitor(socket) for socket in (self._in, self._out)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def counters(self) -> ForwarderCounters:
        """Return what became of the messages so far."""
        return ForwarderCounters(**self._counts)

    def run(self, stop: threading.Event, after_poll: Callable[[], object] = lambda: None) -> None:
        """Forward until `stop` is set; what had come in by then is still passed on."""
        poller = zmq.Poller()
        for socket in (self._in, self._out, *self._monitors):
            poller.register(socket, zmq.POLLIN)
        while not stop.is_set():
            ready = dict(poller.poll(_POLL_MS))
            for monitor in self._monitors:
                if monitor in ready:
                    self._refusal(monitor)
            if self._out in ready:
                self._subscriptions()
            if self._in in ready:
                self._forward()
            after_poll()
        while self._forward():
            pass

    def close(self) -> None:
        """Unbind both sides; messages on their way get two seconds."""
        for socket in self._sockets:
            socket.close(linger=2000)
        self._sockets = []
        if self._authenticator is not None:
            self._authenticator.stop()
            self._authenticator = None
        self._context.term()

    def _bound(
        self,
        kind: int,
        address: str,
        curves: dict[Role, CurveServerSettings] | None,
        role: Role,
    ) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        self._sockets.append(socket)
        settings = self._settings
        socket.rcvhwm = socket.sndhwm = settings.high_water
        # a listener that sends has nothing to say that is longer than a subscription
        socket.maxmsgsize = 4 * settings.max_message_bytes if role == "publisher" else 4096
        keep_alive(socket)
        if curves is not None:
            apply_curve_server(socket, curves[role], role)
        if role == "subscriber":
            socket.xpub_nodrop = 1  # tells us of those who are slow; see `_pass_on`
        try:
            socket.bind(endpoint(address))
        except zmq.ZMQError as error:
            raise ConfigError(f"cannot listen at {address}: {error}") from error
        return socket

    def _monitor(self, socket: zmq.Socket[bytes]) -> zmq.Socket[bytes]:
        monitor = socket.get_monitor_socket(REFUSED)
        self._sockets.insert(0, monitor)
        return monitor

    def _refusal(self, monitor: zmq.Socket[bytes]) -> None:
        event = recv_monitor_message(monitor)
        side = "in" if monitor is self._monitors[0] else "out"
        self._counts["refused"] += 1
        if self._counts["refused"] == 1:
            log.warning(
                "somebody was not let in at the %s side (%s); more are counted, not logged",
                side,
                zmq.Event(event["event"]).name,
            )

    def _subscriptions(self) -> None:
        """Discard messages from subscribers; count unexpected ones."""
        for _ in range(_BURST):
            try:
                head = self._out.recv_multipart(zmq.NOBLOCK)[0][:1]
            except zmq.Again:
                return
            self._counts["ignored"] += head not in (b"\x00", b"\x01")

    def _forward(self) -> int:
        """Pass on what has come in, up to a bound; return how many messages that were."""
        for number in range(_BURST):
            try:
                parts = self._in.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return number
            self._counts["received"] += 1
            self._counts["bytes"] += sum(len(part) for part in parts)
            if len(parts) == 1:
                self._pass_on(parts[0])
            else:
                self._counts["odd"] += 1
        return _BURST

    def _pass_on(self, frame: zmq.Frame) -> None:
        try:
            self._out.send(frame, zmq.NOBLOCK, copy=False)
        except zmq.Again:  # nobody got it, as somebody has no room: now all others do
            self._out.xpub_nodrop = 0
            self._out.send(frame, zmq.NOBLOCK, copy=False)
            self._out.xpub_nodrop = 1
            self._counts["fell_behind"] += 1
            if self._counts["fell_behind"] == 1:
                log.warning("a listener is too slow: it misses messages; more are counted only")
        self._counts["forwarded"] += 1


def _authenticator(
    context: zmq.Context[zmq.Socket[bytes]], curves: dict[Role, CurveServerSettings]
) -> ThreadAuthenticator:
    authenticator = ThreadAuthenticator(context)
    authenticator.start()
    for role, curve in curves.items():
        authenticator.configure_curve(domain=role, location=curve.client_public_keys)
    return authenticator


def _endpoint_of(socket: zmq.Socket[bytes]) -> str:
    return socket.getsockopt_string(zmq.LAST_ENDPOINT)


def _insist_on_loopback(settings: ForwarderSettings) -> None:
    for address in (settings.in_address, settings.out_address):
        if not is_loopback(address):
            raise ConfigError(
                f"{address} can be reached from other computers, and without keys anybody there "
                "could listen and publish: make keys with operando keys DIR and give --keys DIR, "
                "or bind to 127.0.0.1; --insecure does it all the same"
            )
