"""The moves that were made, and what of the drift is theirs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...models.arrays import Array

_KEPT = 10_000


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
