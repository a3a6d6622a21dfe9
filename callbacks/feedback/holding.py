"""Hold the RunEngine for a while when the processor says so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bluesky.suspenders import SuspendBoolHigh
from ophyd import Signal

from ...streamer.core.advice.state import Kind

DEFAULT_KINDS = (Kind.BEAM, Kind.LAGGING)


class HoldOnAdvice:
    """Subscriber of result documents with a signal that is 1 while it is better to wait.

    A held scan gives no frames by which the processor could tell that all is well again, so that a
    hold ends by itself: when the advice says that it is over, or is no longer valid. The scan then
    goes on, and is held again if it is no better. ::

        hold = HoldOnAdvice()
        RE.install_suspender(hold.suspender())

    Parameters
    ----------
    kinds : of advice that hold the RunEngine.
    longest_s : a hold is not longer than this, s.
    name : of the signal.
    clock : wall clock, s since the epoch, to tell how old an advice is.
    """

    def __init__(
        self,
        kinds: Iterable[str] = DEFAULT_KINDS,
        *,
        longest_s: float = 120.0,
        name: str = "operando_hold",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.signal = Signal(name=name, value=0)
        self._kinds = frozenset(str(kind) for kind in kinds)
        self._longest = longest_s
        self._clock = clock
        self._lock = threading.Lock()
        self._until: dict[str, float] = {}
        self._timer: threading.Timer | None = None

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take a result document."""
        data = doc["data"] if name == "event" else {}
        if "severity" not in data or data.get("kind") not in self._kinds:
            return
        now = self._clock()
        left = float(data["data_time"]) + float(data["valid_s"]) - now if data["active"] else 0.0
        with self._lock:
            self._until[str(data["kind"])] = now + min(left, self._longest)
        self._look()

    def suspender(self, sleep: int = 0) -> SuspendBoolHigh:
        """Return a suspender for ``RE.install_suspender``; `sleep` s after the end of a hold."""
        return SuspendBoolHigh(self.signal, sleep=sleep, tripped_message="the processor says so")

    def close(self) -> None:
        """Hold no longer."""
        with self._lock:
            self._until.clear()
        self._look()

    def _look(self) -> None:
        """Set the signal, and come back when the hold ends."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            left = max(self._until.values(), default=0.0) - self._clock()
            if left > 0:
                self._timer = threading.Timer(left, self._look)
                self._timer.daemon = True
                self._timer.start()
        held = int(left > 0)
        if self.signal.get() != held:
            self.signal.put(held)
