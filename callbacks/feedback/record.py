"""What the loop did, as events of the raw run."""

from __future__ import annotations

from typing import Any

from bluesky import plan_stubs as bps
from ophyd import Component, Device, Signal

from ...streamer.advice.advice import MOVES_STREAM as STREAM


class UnitSignal(Signal):
    """A value with its unit."""

    def __init__(self, *, units: str = "", **kwargs: Any) -> None:
        self._units = units
        super().__init__(**kwargs)

    def describe(self) -> Any:
        """Describe the reading with its unit."""
        described = super().describe()
        for key in described.values():
            key["units"] = self._units
        return described


def _px() -> Any:
    return Component(UnitSignal, value=float("nan"), units="px")


class MoveRecord(Device):
    """One decision of the loop, moved or not, as the device of the stream ``recenter``.

    `move_y`, `move_x` is the shift of the image that the stage made, as its readback has it, px;
    `drift_y`, `drift_x`, `sigma` are of the frame `frame` it was decided by, with what has moved
    since then, the stage and, by forecast, the sample; `axis_0`, `axis_1` are where the axes were
    afterwards, in their units; `acted` is 1 for a move; `reason` says why not, or ``test`` for a
    move that measures the matrix.
    """

    move_y = _px()
    move_x = _px()
    drift_y = _px()
    drift_x = _px()
    sigma = _px()
    frame = Component(UnitSignal, value=-1)
    axis_0 = Component(UnitSignal, value=float("nan"))
    axis_1 = Component(UnitSignal, value=float("nan"))
    acted = Component(UnitSignal, value=0)
    reason = Component(UnitSignal, value="")

    def __init__(self) -> None:
        super().__init__(name=STREAM)

    def write(self, **values: Any) -> Any:
        """Plan stub: one event of the open run; what is not given is NaN, 0 or empty."""
        empty = {"frame": -1, "acted": 0, "reason": ""}
        for name in self.component_names:
            getattr(self, name).put(values.get(name, empty.get(name, float("nan"))))
        devices: list[Any] = [self]
        return bps.trigger_and_read(devices, name=STREAM)
