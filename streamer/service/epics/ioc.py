"""A soft IOC in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Self

from ...core.frames import Document
from ...core.view import LiveView, init, update
from ...errors import ConfigError
from .records import Moment, records

if TYPE_CHECKING:
    from .channels import ResultVariables

logger = logging.getLogger(__name__)
_START_S = 15.0  # by eye: twice what imports and sockets take on a busy machine
_END_S = 10.0
_BEAT_S = 1.0
INTERFACES = "EPICS_CAS_INTF_ADDR_LIST"
BEACONS = "EPICS_CAS_BEACON_ADDR_LIST"
AUTO_BEACONS = "EPICS_CAS_AUTO_BEACON_ADDR_LIST"
PORT = "EPICS_CA_SERVER_PORT"
LOOPBACK = "127.0.0.1"


class SoftIoc:
    """Subscriber of result documents that serves them as process variables.

    A document only replaces a few numbers in memory; the thread of the IOC tells clients what has
    changed, some times a second. So neither clients nor network hold the processor up, and a fault
    in here costs process variables alone.

    Use it as a context manager. ``HOLD`` is for operators to write: nothing in here acts on it; a
    suspender of bluesky does (``SuspendBoolHigh``).

    Parameters
    ----------
    prefix : of all names, e.g. ``XF:18ID:OPERANDO:``.
    alive : whether the processing goes on; called from the thread of the IOC.
    period : s between two looks at what has changed.

    Raises
    ------
    ConfigError
        The prefix cannot be used, or caproto is not installed; on entering: the IOC cannot be
        started.
    """

    def __init__(
        self, prefix: str, alive: Callable[[], bool] = lambda: True, period: float = 0.2
    ) -> None:
        if not prefix or not prefix.isprintable() or any(c in prefix for c in " .\"'{}"):
            raise ConfigError(
                f"a prefix of process variables has no spaces, dots, quotes or braces, got "
                f"{prefix!r}; take something like XF:18ID:OPERANDO:"
            )
        self.prefix = prefix
        self.trouble = ""
        self.failures = 0
        self._alive = alive
        self._period = period
        self._view = init()
        self._beats = 0
        self._beat_at = 0.0
        self._interfaces = loopback_by_default(os.environ)
        self._variables = _variables(prefix)
        self._started = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="operando-ioc", daemon=True)

    @property
    def view(self) -> LiveView:
        """Return what it tells."""
        return self._view

    @property
    def held(self) -> bool:
        """Return whether an operator has set ``HOLD``."""
        return self._variables.held

    @property
    def where(self) -> str:
        """Return where it is reached, in words."""
        return f"{self._interfaces} port {os.environ.get(PORT, '5064')}"

    def __call__(self, name: str, doc: Document) -> None:
        """Take a result document into account; never raises, never waits."""
        try:
            self._view = update(self._view, name, doc)
        except Exception:
            self.failures += 1
            if self.failures == 1:
                logger.exception(
                    "a %s document cannot be told by EPICS; more are counted, not logged", name
                )

    def __enter__(self) -> Self:
        """Start to serve."""
        check_interfaces(self._interfaces)
        self._thread.start()
        self._started.wait(_START_S)
        if self.trouble or not self._started.is_set():
            self.__exit__()
            raise ConfigError(f"the IOC cannot be started at {self.where}: {self.trouble or '?'}")
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Stop serving."""
        self._ending.set()
        self._thread.join(_END_S)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:
            self.trouble = f"{type(error).__name__}: {error}"
            if self._started.is_set():
                logger.exception("the IOC has ended; the processing goes on without it")
        finally:
            self._started.set()

    async def _serve(self) -> None:
        context = self._variables.context(beacons=self._interfaces.split() != [LOOPBACK])
        serving = asyncio.create_task(context.run(startup_hook=self._tell))
        self._stop = serving.cancel
        await serving

    async def _tell(self, _layer: Any) -> None:
        self._started.set()
        while not self._ending.is_set():
            moment = self._moment()
            for record in records():
                await self._refresh(record.name, moment)
            await asyncio.sleep(self._period)
        self._stop()

    async def _refresh(self, name: str, moment: Moment) -> None:
        try:
            await self._variables.refresh(name, moment)
        except Exception:
            self.failures += 1
            if self.failures == 1:
                logger.exception("%s%s cannot be told; more are counted", self.prefix, name)

    def _moment(self) -> Moment:
        alive = self._alive()
        if alive and time.monotonic() - self._beat_at >= _BEAT_S:
            self._beats += 1
            self._beat_at = time.monotonic()
        return Moment(self._view, time.time(), alive, self._beats)


def _variables(prefix: str) -> ResultVariables:
    try:
        from .channels import ResultVariables
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"process variables need caproto ({error}): pip install operando[epics]"
        ) from error
    return ResultVariables(prefix, records())


def loopback_by_default(environment: MutableMapping[str, str]) -> str:
    """Have servers of Channel Access serve this computer alone, unless interfaces are named.

    An EPICS server without ``EPICS_CAS_INTF_ADDR_LIST`` listens everywhere, without a password, and
    broadcasts beacons into all networks; Channel Access lets anybody write who can connect.

    Parameters
    ----------
    environment : that of the process; changed in place.

    Returns
    -------
    Where it serves, in words.
    """
    if environment.get(INTERFACES, "").strip():
        return environment[INTERFACES]
    environment[INTERFACES] = LOOPBACK
    if not environment.get(BEACONS, "").strip():
        environment[BEACONS] = LOOPBACK
        environment[AUTO_BEACONS] = "NO"
    return LOOPBACK


def check_interfaces(interfaces: str) -> None:
    """Check that these are addresses of this computer.

    Raises
    ------
    ConfigError
        One is not; the server itself would try a hundred ports there.
    """
    for host in interfaces.split():
        try:
            with socket.socket() as probe:
                probe.bind((host.partition(":")[0], 0))
        except OSError as error:
            raise ConfigError(
                f"process variables cannot be served at {host}: {error}; {INTERFACES} takes "
                "addresses of this computer"
            ) from error
