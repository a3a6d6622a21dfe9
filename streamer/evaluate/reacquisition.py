"""How long it takes until a true particle that was hidden or lost is measured again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ...models.arrays import Mask
from .matching import Ints

_COLUMNS = ("truth", "frame", "cause", "delay", "kept")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reacquisition:
    """Summary of n events.

    Attributes
    ----------
    n : events.
    median, longest : frames from the event until the particle was measured; 0 is at once.
    never : events after which it was not measured before it vanished or the series ended.
    kept : share of the measured ones that were measured before which got their old identity.
    """

    n: int
    median: float
    longest: float
    never: int
    kept: float


def reacquisitions(frame_id: Ints, wanted: Mask, visible: Mask) -> pd.DataFrame:
    """All events after which true particles had to be found (again).

    Parameters
    ----------
    frame_id : (F, P) what explains a true particle in a frame, -1 for nothing.
    wanted : (F, P) bool, it is wholly visible.
    visible : (F, P) bool, at least a part of it is visible.

    Returns
    -------
    One row per event: truth, frame in which it could be measured first, cause (``hidden``: it
    had not been visible; ``missed``: it was measured in the wanted frame before), delay in wanted
    frames (NaN for never), kept (1 the identity of the last time, 0 another one, NaN the first
    time or never).
    """
    parts = [
        _of_particle(frame_id[:, p], wanted[:, p], visible[:, p]).assign(truth=p)
        for p in range(frame_id.shape[1])
    ]
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    return table.reindex(columns=list(_COLUMNS))


def summarise(events: pd.DataFrame) -> Reacquisition:
    """Summary of some events; NaN where there is none."""
    delay = events["delay"].to_numpy(np.float64)
    kept = events["kept"].to_numpy(np.float64)
    found, again = delay[np.isfinite(delay)], kept[np.isfinite(kept)]
    return Reacquisition(
        n=len(delay),
        median=float(np.median(found)) if found.size else float("nan"),
        longest=float(found.max()) if found.size else float("nan"),
        never=int(np.isnan(delay).sum()),
        kept=float(again.mean()) if again.size else float("nan"),
    )


def _of_particle(frame_id: Ints, wanted: Mask, visible: Mask) -> pd.DataFrame:
    frames = np.flatnonzero(wanted)
    identity = frame_id[frames]
    found, index = identity >= 0, np.arange(len(frames))
    unseen = np.cumsum(~visible)[frames]
    returned = np.diff(unseen, prepend=0) > 0
    period = np.cumsum(returned)
    lost = ~found & ~returned & np.concatenate([[False], found])[: len(frames)]
    following = np.minimum.accumulate(np.where(found, index, len(frames))[::-1])[::-1]
    latest = np.maximum.accumulate(np.where(found, index, -1))
    start = np.flatnonzero(returned | lost)
    then = np.append(identity, -1)[following[start]]
    measured = np.append(period, -1)[following[start]] == period[start]
    before = np.concatenate([[-1], latest])[start]
    earlier = np.append(identity, -1)[before]
    return pd.DataFrame(
        {
            "frame": frames[start],
            "cause": np.where(returned[start], "hidden", "missed"),
            "delay": np.where(measured, following[start] - start, np.nan),
            "kept": np.where(measured & (earlier >= 0), then == earlier, np.nan),
        }
    )
