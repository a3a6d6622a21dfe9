"""A soft IOC in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from ..errors import ConfigError
from ..frames import Document
from ..view import LiveView, init, update
from .environment import PORT, check_interfaces, loopback_by_default
from .records import HOLD, Moment, records

if TYPE_CHECKING:
    from caproto import ChannelEnum

    from .channels import Channel

logger = logging.getLogger(__name__)

_START_S = 15.0
_END_S = 10.0
_BEAT_S = 1.0


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
        if not prefix or not prefix.isprintable() or any(c in prefix for c in " .\"'"):
            raise ConfigError(
                f"a prefix of process variables has no spaces, dots or quotes, got {prefix!r}; "
                "take something like XF:18ID:OPERANDO:"
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
        self._channels = _made()
        self._hold = _hold()
        self._started = threading.Event()
        self._ending = threading.Event()
        self._stop: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=self._run, name="operando-ioc", daemon=True)

    @property
    def view(self) -> LiveView:
        """What it tells."""
        return self._view

    @property
    def held(self) -> bool:
        """Whether an operator has set ``HOLD``."""
        return self._hold.raw_value == 1

    @property
    def where(self) -> str:
        """Where it is reached, in words."""
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
        from .context import make_context

        names: dict[str, Any] = {self.prefix + c.record.name: c.data for c in self._channels}
        names[self.prefix + HOLD] = self._hold
        context = make_context(names, self._interfaces)
        serving = asyncio.create_task(context.run(startup_hook=self._tell))
        self._stop = serving.cancel
        await serving

    async def _tell(self, _layer: Any) -> None:
        self._started.set()
        while not self._ending.is_set():
            moment = self._moment()
            for channel in self._channels:
                await self._refresh(channel, moment)
            await asyncio.sleep(self._period)
        self._stop()

    async def _refresh(self, channel: Channel, moment: Moment) -> None:
        try:
            await channel.refresh(moment)
        except Exception:
            self.failures += 1
            if self.failures == 1:
                logger.exception(
                    "%s%s cannot be told; more are counted", self.prefix, channel.record.name
                )

    def _moment(self) -> Moment:
        alive = self._alive()
        if alive and time.monotonic() - self._beat_at >= _BEAT_S:
            self._beats += 1
            self._beat_at = time.monotonic()
        return Moment(self._view, time.time(), alive, self._beats)


def _made() -> tuple[Channel, ...]:
    try:
        from .channels import make_channels
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"process variables need caproto ({error}): pip install operando[epics]"
        ) from error
    return make_channels(records())


def _hold() -> ChannelEnum:
    from .channels import hold_channel

    return hold_channel()
