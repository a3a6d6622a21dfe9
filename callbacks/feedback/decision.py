"""Whether to move, and by how much: pure functions of what is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...models.arrays import Array
from .latest import Measured
from .settings import FeedbackSettings

_NONE = np.full(2, np.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do about the drift.

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
        """Whether to move."""
        return not self.reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a decision is made of.

    Attributes
    ----------
    measured : newest drift. since : (2,) px, what has moved that it does not show yet, the stage
        and (`forecast`) the sample.
    total : (2,) px, all moves so far. now : s, by the clock that stamps the events.
    least : length of a move below which it is not made, as the matrix is not proven, px.
    """

    measured: Measured | None
    since: Array
    total: Array
    now: float
    least: float = 0.0


def decide(known: Known, settings: FeedbackSettings) -> Decision:
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


def _unfit(measured: Measured, now: float, settings: FeedbackSettings) -> str:
    if now - measured.time > settings.stale_s:
        return "stale"
    if not measured.sigma <= settings.max_sigma_px:
        return "uncertain"
    if measured.particles < settings.min_particles:
        return "few_particles"
    return ""
