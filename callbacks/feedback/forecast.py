"""Where a steady drift has got to since the last frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...models.arrays import Array

KEPT = 5
_LEAST = 4
_SURE = 3.0


def ahead(times: Sequence[float], drifts: Sequence[Array], now: float) -> Array:
    """Drift of the sample from its last frame until now, along a straight line.

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
