"""Numbers that are worked out from a live view when somebody looks."""

from __future__ import annotations

import math
from collections import Counter
from statistics import median

from ..link.tracks import TrackState
from .state import NAN, Advice, LiveView

RATE_WINDOW_S = 10.0


def age(view: LiveView, now: float) -> float:
    """Time since the newest frame was told, s; NaN before the first. `now`: s since the epoch."""
    emitted = view.frame.emitted
    return max(0.0, now - emitted) if math.isfinite(emitted) else NAN


def frame_rate(view: LiveView, now: float) -> float:
    """Frames per second over the last ten seconds; `now`: s since the epoch."""
    recent = [t for t in view.emitted if now - t <= RATE_WINDOW_S]
    if len(recent) < 2:
        return len(recent) / RATE_WINDOW_S
    whole = len(recent) == len(view.emitted)  # what came before is not known
    span = max(now - min(recent), 0.0) if whole else RATE_WINDOW_S
    n = len(recent) - 1 if whole else len(recent)
    return n / span if span > 0 else 0.0


def lag(view: LiveView) -> int:
    """Frames that have been received and have no result yet."""
    books = view.books
    done = books["aligned"] + books["degraded"] + books["skipped"] + books["dropped"]
    return max(0, books["received"] - done)


SEVERITIES = ("info", "warning", "alarm")


def worst_alert(view: LiveView) -> Advice | None:
    """The worst of what is not over, the newest of these; None if all is well."""
    rank = {severity: number for number, severity in enumerate(SEVERITIES)}
    newest_first = reversed(list(view.alerts.values()))
    return max(newest_first, key=lambda alert: rank.get(alert.severity, 0), default=None)


def particle_counts(view: LiveView) -> dict[str, int]:
    """Number of particles by the state that was told of them last, in the order of their life."""
    counts = Counter(p.state for p in view.particles.values())
    return {str(state): counts[str(state)] for state in TrackState}


def median_velocity(view: LiveView) -> tuple[float, float]:
    """Median of the velocities of tracked particles, (y, x) px/s; NaN if there are none."""
    known = [
        p.velocity
        for p in view.particles.values()
        if p.state == TrackState.TRACKED and all(map(math.isfinite, p.velocity))
    ]
    if not known:
        return NAN, NAN
    ys, xs = zip(*known, strict=True)
    return median(ys), median(xs)
