"""How well the particles of a frame are looked for: the networks, a threshold, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import median_low

from ..frames import DetectionMode

_REMEMBERED = 9  # frames whose cost is remembered, of each rung

_CALM_FRAMES = 3  # frames in a row in which a better rung would do, until it is taken

_CALM_SHARE = 0.6  # of the deadline: what it must leave room for

_STALE_FRAMES = 100  # after which a better rung is tried whatever it has cost

_MOST_COASTING = 10  # frames in a row that nobody looks at


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderState:
    """Where the ladder stands.

    Attributes
    ----------
    rungs : those that there are, the best first.
    rung : taken for the last frame.
    costs : s per frame, of the last frames of each rung that has been taken.
    calm : frames in a row in which a better rung would have been fast enough.
    since : frames since a better rung was taken.
    coasted : frames in a row that nobody has looked at.
    """

    rungs: tuple[DetectionMode, ...]
    rung: DetectionMode
    costs: Mapping[DetectionMode, tuple[float, ...]] = field(default_factory=dict)
    calm: int = 0
    since: int = 0
    coasted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStatus:
    """What the choice for a frame depends on.

    Attributes
    ----------
    deadline : s, from when frames come in until they have their results.
    spent : s, for which the oldest of those that wait has waited.
    queued : frames that wait, this one included.
    known : there are particles that can coast.
    """

    deadline: float
    spent: float
    queued: int
    known: bool


def init(rungs: tuple[DetectionMode, ...]) -> LadderState:
    """Stand on the best of the rungs."""
    return LadderState(rungs=rungs, rung=rungs[0])


def update(state: LadderState, now: QueueStatus) -> tuple[LadderState, DetectionMode]:
    """Choose the rung of the next frame.

    If ``spent + queued * cost`` of the present rung exceeds the deadline, the next cheaper one that
    meets it is taken at once, else the cheapest. A better one is taken when it would have left room
    for several frames in a row, so that the ladder does not swing. What a rung costs is the running
    median of its last frames; one that has never been taken is taken to cost nothing, and what
    the better ones have cost is forgotten after a while (a first frame that compiles kernels is
    slow), if there is room to try them.

    Nobody's particles can coast for ever: every so many frames one is looked at all the same.
    """
    rungs = (
        state.rungs if now.known else tuple(r for r in state.rungs if r != DetectionMode.COASTING)
    )
    state = _refreshed(state, now)
    present = min(state.rungs.index(state.rung), len(rungs) - 1)
    chosen = present
    while chosen < len(rungs) - 1 and not _in_time(state, rungs[chosen], now):
        chosen += 1
    calm = 0
    if chosen == present > 0 and _in_time(state, rungs[present - 1], now, _CALM_SHARE):
        calm = state.calm + 1
        if calm == _CALM_FRAMES:
            chosen, calm = present - 1, 0
    coasts = rungs[chosen] == DetectionMode.COASTING and state.coasted < _MOST_COASTING
    looks = rungs[chosen] == DetectionMode.COASTING and not coasts
    after = replace(
        state,
        rung=rungs[chosen],
        calm=calm,
        since=state.since + 1 if chosen >= present > 0 else 0,
        coasted=state.coasted + 1 if coasts else 0,
    )
    return after, rungs[chosen - 1] if looks else rungs[chosen]


def timed(state: LadderState, rung: DetectionMode, cost: float) -> LadderState:
    """Remember what a frame has cost on a rung, s."""
    costs = (*state.costs.get(rung, ()), cost)[-_REMEMBERED:]
    return replace(state, costs={**state.costs, rung: costs})


def _in_time(state: LadderState, rung: DetectionMode, now: QueueStatus, share: float = 1.0) -> bool:
    costs = state.costs.get(rung)
    cost = median_low(costs) if costs else 0.0
    return now.spent + now.queued * cost <= share * now.deadline


def _refreshed(state: LadderState, now: QueueStatus) -> LadderState:
    """Forget what better rungs have cost long ago, if there is room to try them."""
    if state.since < _STALE_FRAMES or not _in_time(state, state.rung, now, _CALM_SHARE):
        return state
    worse = state.rungs[state.rungs.index(state.rung) :]
    return replace(state, costs={r: c for r, c in state.costs.items() if r in worse}, since=0)
