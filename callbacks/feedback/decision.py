"""Decide whether to move, and by how much: pure functions of the state of the loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from bluesky import plan_stubs as bps
from ophyd import Component, Device, Signal
from pydantic import BaseModel, ConfigDict, Field

from ...models.arrays import Array
from ...streamer.core.advice.state import MOVES_STREAM as STREAM
from .latest import LatestFrame


class FeedbackSettings(BaseModel):
    """Settings of re-centring: thresholds, limits and steps of moves."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dead_band_px: float = Field(
        default=2.0, gt=0, description="drift that is left alone, px in the image"
    )
    gain: float = Field(
        default=1.0, gt=0, le=1, description="share of the drift that one move takes back"
    )
    forecast: bool = Field(
        default=True,
        description="also take back what a steady drift has done since the last frame",
    )
    max_step_px: float = Field(
        default=20.0, gt=0, description="longest single move, px; a longer one is cut to it"
    )
    max_travel_px: float = Field(
        default=500.0, gt=0, description="farthest from where the loop began, px; beyond: refused"
    )
    max_sigma_px: float = Field(
        default=1.0, gt=0, description="drift with a larger standard error is not acted on, px"
    )
    min_particles: int = Field(
        default=2, ge=1, description="drift seen by fewer particles is not acted on"
    )
    stale_s: float = Field(
        default=60.0, gt=0, description="drift of a frame older than this is not acted on, s"
    )
    wait_s: float = Field(
        default=2.0,
        ge=0,
        description="longest wait for the result of a frame taken since the last move, s; then it "
        "goes on with what is known",
    )
    test_step: float = Field(
        default=0.2,
        gt=0,
        description="length of the test moves that measure the matrix, in the units of the axes",
    )
    test_wait_s: float = Field(
        default=30.0, gt=0, description="longest wait for the result of a test frame, s"
    )
    test_frames: int = Field(
        default=3, ge=1, description="frames that are tried at each place of the test moves"
    )
    test_error: float = Field(
        default=0.25,
        gt=0,
        lt=1,
        description="largest misfit of the test moves, in units of the shift that they cause",
    )
    max_skew: float = Field(
        default=4.0,
        gt=1,
        description="largest ratio of the shifts that equal moves of the two axes may cause, as "
        "the condition number of the matrix",
    )
    response_tolerance: float = Field(
        default=0.5,
        gt=0,
        lt=1,
        description="the loop stops when the images surely follow the moves by another factor "
        "than 1, by more than this; a rotation counts as well, 1",
    )
    response_px: float = Field(
        default=4.0,
        gt=0,
        description="by how much the field may move on its own from frame to frame, as long as "
        "no frames have shown it, px; a matrix that was not measured is first tried with a move "
        "of at least this length",
    )


_NONE = np.full(2, np.nan)
KEPT = 5  # frames that a forecast is made from; by eye: what is older may have another rate
_LEAST = 4  # of them: a line has two parameters, the rest tell its error
_SURE = 3.0  # standard errors: one rate in 370 is taken for one by chance
_KEPT = 10_000  # moves; bounds memory, far more than a scan makes


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Move that takes back the drift, or the reason for none.

    Attributes
    ----------
    shift : (2,) px by which to move the image; NaN if it is to be left alone.
    reason : why it is left alone: nothing, stale, uncertain, few_particles, dead_band, unproven,
        travel; "" for a move.
    drift : (2,) px, where the field is now: as measured, and what has moved since.
    """

    shift: Array
    reason: str
    drift: Array

    @property
    def wanted(self) -> bool:
        """Return whether to move."""
        return not self.reason


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopState:
    """State of the loop that a decision is made from.

    Attributes
    ----------
    measured : newest drift. since : (2,) px, what has moved that it does not show yet, the stage
        and (`forecast`) the sample.
    total : (2,) px, all moves so far. now : s, by the clock that stamps the events.
    least : length of a move below which it is not made, as the matrix is not proven, px.
    """

    measured: LatestFrame | None
    since: Array
    total: Array
    now: float
    least: float = 0.0


def decide(known: LoopState, settings: FeedbackSettings) -> Decision:
    """Take back the drift, unless there is a reason to leave it alone.

    A move that was made after the newest frame is not in its drift: it is added, lest it be made
    twice.
    """
    measured = known.measured
    if measured is None:
        return Decision(shift=_NONE, reason="nothing", drift=_NONE)
    drift = measured.drift + known.since
    reason = _unfit(measured, known.now, settings)
    away = float(np.hypot(*drift))
    shift = -settings.gain * drift
    shift = shift * min(1.0, settings.max_step_px / max(float(np.hypot(*shift)), 1e-9))
    if not reason and away <= settings.dead_band_px:
        reason = "dead_band"
    if not reason and away < known.least:
        reason = "unproven"
    if not reason and np.hypot(*(known.total + shift)) > settings.max_travel_px:
        reason = "travel"
    return Decision(shift=_NONE if reason else shift, reason=reason, drift=drift)


def _unfit(measured: LatestFrame, now: float, settings: FeedbackSettings) -> str:
    if now - measured.time > settings.stale_s:
        return "stale"
    if not measured.sigma <= settings.max_sigma_px:
        return "uncertain"
    if measured.particles < settings.min_particles:
        return "few_particles"
    return ""


def ahead(times: Sequence[float], drifts: Sequence[Array], now: float) -> Array:
    """Extrapolate the drift of the sample from its last frame until now along a straight line.

    Parameters
    ----------
    times : (K,) s, of the last frames. drifts : (K, 2) px, of the sample, moves taken out.
    now : s.

    Returns
    -------
    (2,) px; 0 for a component whose rate does not stand out of the scatter by three standard
    errors, for too few frames, or for times that do not advance. No further than one mean interval
    between the frames: later on nobody knows.
    """
    when, where = np.asarray(times, float), np.asarray(drifts, float).reshape(-1, 2)
    if len(when) < _LEAST or not (np.diff(when) > 0).all():
        return np.zeros(2)
    centred = when - when.mean()
    spread = float((centred**2).sum())
    rate = centred @ where / spread
    rest = where - where.mean(axis=0) - centred[:, None] * rate
    error = np.sqrt((rest**2).sum(axis=0) / (len(when) - 2) / spread)
    left = float(np.clip(now - when[-1], 0.0, np.diff(when).mean()))
    return np.where(np.abs(rate) > _SURE * error, rate * left, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moves:
    """Moves of the stage, as shifts of the image they were to cause.

    Times are those of the clock that also stamps the events, as both are of the RunEngine's
    process: a frame with a later time shows the move, an earlier one does not.

    Attributes
    ----------
    times : s, when each was complete. shifts : (y, x), px.
    """

    times: tuple[float, ...] = ()
    shifts: tuple[tuple[float, float], ...] = ()

    def made(self, time: float, shift: Array) -> Moves:
        """Remember a move."""
        return Moves(
            times=(*self.times, time)[-_KEPT:],
            shifts=(*self.shifts, (float(shift[0]), float(shift[1])))[-_KEPT:],
        )

    def between(self, after: float, until: float = float("inf")) -> Array:
        """Sum of the moves after one time and up to another, (2,) px."""
        chosen = [s for t, s in zip(self.times, self.shifts, strict=True) if after < t <= until]
        return np.sum(chosen, axis=0) if chosen else np.zeros(2)

    @property
    def total(self) -> Array:
        """Sum of all moves, (2,) px."""
        return self.between(float("-inf"))


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
