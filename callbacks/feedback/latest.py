"""Newest results of the processor, for callbacks in the process of the RunEngine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ...streamer.io.sources.zmq import ZmqSource, ZmqSourceSettings
from ..subscribers import Subscribers

_USABLE = ("aligned", "degraded")
_POLL_S = 0.2
_BURST = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class LatestFrame:
    """Drift as one frame has shown it.

    Attributes
    ----------
    frame : 0-based count in the raw run. time : data time, s; that of the raw event.
    drift : (2,) float64 (y, x), px in the image, moves of the stage included.
    sigma : its standard error, px, NaN if unknown. particles : that were seen.
    """

    frame: int
    time: float
    drift: NDArray[np.float64]
    sigma: float
    particles: int


class LatestResults:
    """Subscriber of result documents that keeps the newest drift and advice.

    It may be called from any thread. Events are known by their keys, so that it may join late.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._measured: LatestFrame | None = None
        self._heard: float | None = None
        self._advice: dict[str, Mapping[str, Any]] = {}

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take a result document."""
        if name != "event":
            return
        data = doc["data"]
        if "drift_y" in data and "raw_seq_num" in data:
            self._frame(data, float(doc["time"]))
        elif "kind" in data and "severity" in data:
            with self._lock:
                self._advice[str(data["kind"])] = dict(data)

    @property
    def measured(self) -> LatestFrame | None:
        """Return the drift of the newest frame that could be measured."""
        with self._lock:
            return self._measured

    @property
    def heard(self) -> float | None:
        """Return the data time of the newest frame that was heard of, s, measured or not."""
        with self._lock:
            return self._heard

    def advice(self, kind: str) -> Mapping[str, Any] | None:
        """Return the newest advice of a kind, as the data of its event; None if there was none."""
        with self._lock:
            return self._advice.get(kind)

    def _frame(self, data: Mapping[str, Any], time: float) -> None:
        measured = _measured(data, time)
        with self._lock:  # a later look at an earlier frame says nothing about now
            if measured is not None and (self._measured is None or time >= self._measured.time):
                self._measured = measured
            self._heard = time if self._heard is None else max(time, self._heard)


def _measured(data: Mapping[str, Any], time: float) -> LatestFrame | None:
    """Return the drift that a frame has shown; None if it has shown none."""
    drift = np.array([data["drift_y"], data["drift_x"]], dtype=np.float64)
    if data["status"] not in _USABLE or not np.isfinite([*drift, data["drift_sigma"]]).all():
        return None
    return LatestFrame(
        frame=int(data["frame"]),
        time=time,
        drift=drift,
        sigma=float(data["drift_sigma"]),
        particles=int(data["n_particles"]),
    )


class ResultListener:
    """Hands result documents that a service publishes to callbacks, in a thread of its own.

    Parameters
    ----------
    address : out side of the proxy to which the results go (``operando process --publish``).
    callbacks : called with ``(name, doc)``; one that fails is logged and does not disturb others.
    curve : CURVE keys: `CurveSettings` or bluesky's ``ClientCurve``.
    """

    def __init__(
        self,
        address: str,
        *callbacks: Callable[[str, Mapping[str, Any]], object],
        curve: Any = None,
    ) -> None:
        self._source = ZmqSource(ZmqSourceSettings(address=address, curve=curve))
        self._subscribers = Subscribers()
        for callback in callbacks:
            self._subscribers.add(callback, "all")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="operando-results", daemon=True)

    def open(self) -> None:
        """Start to listen."""
        self._source.open()
        self._thread.start()

    def __enter__(self) -> Self:
        """Start to listen."""
        self.open()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Stop listening."""
        self.close()

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Wait up to `timeout` s until no result published from now on can be missed."""
        return self._source.wait_ready(timeout)

    def close(self) -> None:
        """Stop listening."""
        self._stopping.set()
        self._source.close()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            for item in self._source.drain(_BURST, _POLL_S):
                self._subscribers.emit(item.name, item.doc)
