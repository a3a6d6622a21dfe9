"""Choice of the search for particles: mode of detection, whole frame or windows.

The mode of detection (the networks, a threshold, or none) is the best one that meets the deadline;
where it can, a detector follows the known particles in windows rather than search the whole frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import median_low

import numpy as np

from ....models.arrays import Array
from ....models.detector import Expected
from ..frames import DetectionMode, OpticalDensityFrame
from ..link import LinkState, Track, TrackState
from ..link.masks import visible_part
from ..link.shift import estimate_jump

# all by eye

_REMEMBERED = 9  # frames whose cost is remembered, of each mode
_CALM_FRAMES = 3  # frames in a row in which a better mode would do, until it is taken
_CALM_SHARE = 0.6  # of the deadline: what it must leave room for
_STALE_FRAMES = 100  # after which a better mode is tried whatever it has cost
_MOST_COASTING = 10  # frames in a row in which nothing is detected
_LEAST_SHARE = 0.3  # of a particle that the frame must show for it to be followed
_UNSURE = (TrackState.TENTATIVE, TrackState.COASTING)


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderState:
    """Position on the ladder of detection modes.

    Attributes
    ----------
    modes : those that there are, the best first.
    mode : taken for the last frame.
    costs : s per frame, of the last frames of each mode that has been taken.
    calm : frames in a row in which a better mode would have been fast enough.
    since : frames since a better mode was taken.
    coasted : frames in a row in which nothing was detected.
    """

    modes: tuple[DetectionMode, ...]
    mode: DetectionMode
    costs: Mapping[DetectionMode, tuple[float, ...]] = field(default_factory=dict)
    calm: int = 0
    since: int = 0
    coasted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStatus:
    """Deadline and queue on which the choice for a frame depends.

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


def init(modes: tuple[DetectionMode, ...]) -> LadderState:
    """Start with the best of the modes."""
    return LadderState(modes=modes, mode=modes[0])


def update(state: LadderState, now: QueueStatus) -> tuple[LadderState, DetectionMode]:
    """Choose the mode of the next frame.

    If ``spent + queued * cost`` of the present mode exceeds the deadline, the next cheaper one that
    meets it is taken at once, else the cheapest. A better one is taken when it would have left room
    for several frames in a row, so that the ladder does not swing. What a mode costs is the running
    median of its last frames; one that has never been taken is taken to cost nothing, and what
    the better ones have cost is forgotten after a while (a first frame that compiles kernels is
    slow), if there is room to try them.

    No particles can coast for ever: every so many frames one is searched all the same.
    """
    modes = (
        state.modes if now.known else tuple(r for r in state.modes if r != DetectionMode.COASTING)
    )
    state = _refreshed(state, now)
    present = min(state.modes.index(state.mode), len(modes) - 1)
    chosen = present
    while chosen < len(modes) - 1 and not _in_time(state, modes[chosen], now):
        chosen += 1
    calm = 0
    if chosen == present > 0 and _in_time(state, modes[present - 1], now, _CALM_SHARE):
        calm = state.calm + 1
        if calm == _CALM_FRAMES:
            chosen, calm = present - 1, 0
    coasts = modes[chosen] == DetectionMode.COASTING and state.coasted < _MOST_COASTING
    searches = modes[chosen] == DetectionMode.COASTING and not coasts
    after = replace(
        state,
        mode=modes[chosen],
        calm=calm,
        since=state.since + 1 if chosen >= present > 0 else 0,
        coasted=state.coasted + 1 if coasts else 0,
    )
    return after, modes[chosen - 1] if searches else modes[chosen]


def timed(state: LadderState, mode: DetectionMode, cost: float) -> LadderState:
    """Remember what a frame has cost in a mode, s."""
    costs = (*state.costs.get(mode, ()), cost)[-_REMEMBERED:]
    return replace(state, costs={**state.costs, mode: costs})


def _in_time(state: LadderState, mode: DetectionMode, now: QueueStatus, share: float = 1.0) -> bool:
    costs = state.costs.get(mode)
    cost = median_low(costs) if costs else 0.0
    return now.spent + now.queued * cost <= share * now.deadline


def _refreshed(state: LadderState, now: QueueStatus) -> LadderState:
    """Forget what better modes have cost long ago, if there is room to try them."""
    if state.since < _STALE_FRAMES or not _in_time(state, state.mode, now, _CALM_SHARE):
        return state
    worse = state.modes[state.modes.index(state.mode) :]
    return replace(state, costs={r: c for r, c in state.costs.items() if r in worse}, since=0)


# Whether the whole of a frame is searched, or its known particles are followed.


def expected(
    link: LinkState, corrected: OpticalDensityFrame, unsearched: int, every: int
) -> Expected | None:
    """Predict where the particles of the next frame are.

    The whole frame is searched at the start of a run, while a particle coasts or leaves the frame,
    while a new one is not confirmed yet, and every so many frames, as that is how new particles and
    lost ones are found. A particle that only its template has found in the frame before is left to
    its template until then: it was not detected when the whole frame was searched for it.

    Parameters
    ----------
    link : identities after the frame before.
    corrected : the frame; how far all particles have moved together is seen in it.
    unsearched : frames since the last search.
    every : frames from one search to the next; 1 is always.

    Returns
    -------
    The particles that were detected in the frame before; None if the whole frame is to be searched.
    """
    if link.new_run or unsearched + 1 >= every:
        return None
    if any(track.state in _UNSURE for track in link.tracks):
        return None
    seen = [t for t in link.tracks if t.state == TrackState.TRACKED and not t.confirmed]
    if not seen:
        return None
    total = predict_shift(link, corrected).shift
    shown = [_shown(track, total, corrected) for track in seen]
    if any(area < _LEAST_SHARE * track.area for track, (_, area) in zip(seen, shown, strict=True)):
        return None
    return Expected(
        centres=np.stack([yx for yx, _ in shown]),
        diameters=2 * np.sqrt(np.array([area for _, area in shown]) / np.pi),
    )


def _shown(track: Track, total: Array, corrected: OpticalDensityFrame) -> tuple[Array, float]:
    """Measure centre of mass (2,) px and area, px^2, of what the frame shows of a particle."""
    placed = track.expected(total)
    part = visible_part(placed, corrected.valid)
    share = np.count_nonzero(part) / max(np.count_nonzero(placed.mask), 1)
    if share in (0.0, 1.0):
        return placed.yx, share * track.area
    off = np.argwhere(part).mean(axis=0) - np.argwhere(placed.mask).mean(axis=0)
    return placed.yx + off, share * track.area


def predict_shift(link: LinkState, corrected: OpticalDensityFrame) -> LinkState:
    """Estimate the common shift of a frame before detection."""
    known = (TrackState.TRACKED, TrackState.COASTING)
    masks = [t.expected(link.shift) for t in link.tracks if t.state in known]
    shift, _ = estimate_jump(corrected.od, corrected.valid, masks)
    return replace(link, shift=link.shift + shift)


def can_coast(link: LinkState) -> bool:
    """Tell whether there are particles that can be kept without a detection in the next frame."""
    return not link.new_run and any(t.state == TrackState.TRACKED for t in link.tracks)
