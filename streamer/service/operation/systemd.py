"""The notifications of systemd (``Type=notify``, ``WatchdogSec``), see sd_notify(3)."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable
from typing import Self

logger = logging.getLogger(__name__)


def notify(message: str) -> bool:
    """Tell systemd something, e.g. ``READY=1``; returns whether there is a systemd that listens."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return False
    address = "\0" + path[1:] if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.settimeout(1.0)
            sock.sendto(message.encode(), address)
    except OSError as error:
        logger.warning("systemd cannot be told %s: %s", message.partition("=")[0], error)
        return False
    return True


def watchdog_period() -> float | None:
    """Return within how many s systemd wants signs of life of this process; None: it wants none."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    given = os.environ.get("WATCHDOG_USEC", "")
    return int(given) / 1e6 if given.isdigit() and int(given) > 0 else None


class Watchdog:
    """Sends signs of life to systemd while the service gives some; a context manager.

    Parameters
    ----------
    alive : whether the service is alive; asked in a thread.
    """

    def __init__(self, alive: Callable[[], bool]) -> None:
        self._alive = alive
        self._end = threading.Event()

    def __enter__(self) -> Self:
        """Begin, if systemd wants it."""
        period = watchdog_period()
        if period is not None:
            threading.Thread(
                target=self._run, args=(period / 3,), name="operando-watchdog", daemon=True
            ).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """End."""
        self._end.set()

    def _run(self, pause: float) -> None:
        while True:
            if self._alive():
                notify("WATCHDOG=1")
            else:
                logger.error("the processing gives no sign of life; systemd is not told any more")
            if self._end.wait(pause):
                return
