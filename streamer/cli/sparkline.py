"""A curve in one line of text."""

from __future__ import annotations

import math
from collections.abc import Sequence

BARS = "▁▂▃▄▅▆▇█"
GAP = " "


def sparkline(values: Sequence[float], width: int) -> str:
    """Draw the last `width` values between their least and largest; gaps where one is unknown."""
    shown = list(values)[-width:]
    known = [v for v in shown if math.isfinite(v)]
    if not known:
        return ""
    low, high = min(known), max(known)
    return "".join(_bar(v, low, high) for v in shown)


def span(values: Sequence[float], width: int) -> tuple[float, float]:
    """Least and largest of the values that `sparkline` draws; NaN if there are none."""
    known = [v for v in list(values)[-width:] if math.isfinite(v)]
    return (min(known), max(known)) if known else (math.nan, math.nan)


def _bar(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return GAP
    if high <= low:
        return BARS[len(BARS) // 2]
    return BARS[round((value - low) / (high - low) * (len(BARS) - 1))]
