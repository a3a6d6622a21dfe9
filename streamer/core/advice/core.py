"""Advise on results: `init`, `moved` and `update`.

Alerts have a hysteresis and a rate limit: a latch remembers what was given and is not over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import hypot, isfinite

from ..results import FrameResult, Status
from . import alerts
from .alerts import AlertEvidence
from .settings import AdviceSettings
from .state import NO_PARTICLE, Advice, AdviceState, Kind, Latch, Severity, StageMove

_STEPS = 9  # by eye: latest steps of the drift whose median is the usual one
Latches = Mapping[tuple[str, int], Latch]


def init() -> AdviceState:
    """Return the state before the first frame of a run."""
    return AdviceState()


def moved(state: AdviceState, move: StageMove) -> AdviceState:
    """Take note of a move of the stage that shifts the image; frames from its time on show it.

    One that comes twice, from two publishers or again from a journal, counts once.
    """
    if move.time <= state.newest:
        return state
    return replace(state, pending=(*state.pending, move), newest=move.time)


def update(
    state: AdviceState,
    result: FrameResult,
    shape: tuple[int, int],
    latency: float,
    settings: AdviceSettings,
) -> tuple[AdviceState, tuple[Advice, ...]]:
    """Advance by the first value of a frame; later revisions say nothing new about now.

    Parameters
    ----------
    result : of the frame.
    shape : (H, W) of the images, px.
    latency : from the event to now, s, by the clock of the shell.

    Returns
    -------
    state
    advice : to be given now; moves that were made come first.
    """
    if result.revision > 0 or not settings.enabled:
        return state, ()
    state, acted = _apply_moves(state, result, settings)
    quickest = min(state.quickest, latency) if isfinite(latency) else state.quickest
    state = replace(state, quickest=quickest)
    findings: list[AlertEvidence] = [
        *alerts.beam(result, settings),
        *alerts.lagging(result, latency, quickest, settings),
    ]
    if result.status != Status.SKIPPED:
        state, more = _measured(state, result, shape, settings)
        findings += more
    now = (result.frame, result.time)
    latches, given = settle(state.latches, findings, now, settings)
    return replace(state, latches=latches), (*acted, *given)


def _measured(
    state: AdviceState, result: FrameResult, shape: tuple[int, int], settings: AdviceSettings
) -> tuple[AdviceState, list[AlertEvidence]]:
    """Advance by a frame in which particles were looked for."""
    blurred = state.blurred + 1 if "blurred" in result.reason.split(";") else 0
    state = replace(state, blurred=blurred)
    known_lost = [particle for kind, particle in state.latches if kind == Kind.LOST]
    findings = [
        *alerts.blur(result, blurred, settings),
        *alerts.lost(result, known_lost, settings),
    ]
    if blurred or not isfinite(result.drift_sigma):  # nothing was measured: particles coast
        return state, findings
    # how far the field has moved since the frame before of its own accord, px
    drift = (float(result.drift[0]) - state.offset[0], float(result.drift[1]) - state.offset[1])
    step = (
        None if state.drift is None else hypot(drift[0] - state.drift[0], drift[1] - state.drift[1])
    )
    findings += [
        *alerts.jump(result, step, state.steps, settings),
        *alerts.recenter(result, settings),
    ]
    paths = alerts.add_places(state.paths, result, state.offset, settings)
    findings += alerts.leaving(paths, result, shape, settings)
    steps = state.steps if step is None else (*state.steps, step)[-_STEPS:]
    return replace(state, paths=paths, steps=steps, drift=drift), findings


def _apply_moves(
    state: AdviceState, result: FrameResult, settings: AdviceSettings
) -> tuple[AdviceState, list[Advice]]:
    """Take the moves into account that were made before a frame, and report them as acted on."""
    done = [m for m in state.pending if m.time <= result.time]
    state = replace(state, pending=state.pending[len(done) :])
    for move in done:
        if all(isfinite(v) for v in move.move):
            offset = (state.offset[0] + move.move[0], state.offset[1] + move.move[1])
            state = replace(state, offset=offset)
        else:  # what was known of places says nothing about those from now on
            state = replace(state, drift=None, paths={})
    return state, [_acted(move, result, settings) for move in done]


def _acted(move: StageMove, result: FrameResult, settings: AdviceSettings) -> Advice:
    y, x = move.move
    known = isfinite(y) and isfinite(x)
    how = f" by ({y:+.1f}, {x:+.1f}) px" if known else f", {move.reason or 'nobody knows how far'}"
    return Advice(
        kind=Kind.RECENTER,
        severity=Severity.INFO,
        message=f"the stage has moved the image{how}",
        frame=result.frame,
        time=move.time,
        valid_s=settings.valid_s,
        move=move.move,
        sigma=move.sigma,
        acted=True,
    )


def settle(
    latches: Latches,
    findings: Iterable[AlertEvidence],
    now: tuple[int, float],
    settings: AdviceSettings,
) -> tuple[Latches, tuple[Advice, ...]]:
    """Decide which findings of a frame become advice.

    Parameters
    ----------
    now : frame, and its data time, s.

    Returns
    -------
    latches : after the frame.
    advice : new alerts, worse ones, those that go on for long, those that recommend another move,
        and (`Advice.active` False) those that are over.
    """
    after = dict(latches)
    given: list[Advice] = []
    for finding in findings:
        key = (str(finding.kind), finding.particle)
        latch = after.pop(key, None)
        if finding.forget:
            continue
        if finding.advice is not None:
            latch, more = _raised(latch, finding.advice, settings)
            given += more
        elif finding.over and latch is not None:
            latch = replace(latch, calm=latch.calm + 1)
            if latch.calm >= settings.clear_frames:
                given += [] if finding.quiet else [_ended(finding, now, settings)]
                latch = None
        if latch is not None:
            after[key] = latch
    return after, tuple(given)


def _raised(
    latch: Latch | None, advice: Advice, settings: AdviceSettings
) -> tuple[Latch, list[Advice]]:
    fresh = Latch(severity=advice.severity, given=advice.time, move=advice.move)
    rank = list(Severity).index
    if latch is None or rank(advice.severity) > rank(latch.severity):
        return fresh, [advice]
    # a clock that was set back must not silence anything
    again = not 0 <= advice.time - latch.given < settings.repeat_s
    y, x = advice.move[0] - latch.move[0], advice.move[1] - latch.move[1]
    if again or hypot(y, x) > settings.recenter_px:  # False for NaN: no move
        return fresh, [advice]
    return replace(latch, calm=0), []


def _ended(finding: AlertEvidence, now: tuple[int, float], settings: AdviceSettings) -> Advice:
    whom = f" of particle {finding.particle}" if finding.particle != NO_PARTICLE else ""
    return Advice(
        kind=finding.kind,
        severity=Severity.INFO,
        message=f"over: {finding.kind}{whom}",
        particle=finding.particle,
        frame=now[0],
        time=now[1],
        valid_s=settings.valid_s,
        active=False,
    )
