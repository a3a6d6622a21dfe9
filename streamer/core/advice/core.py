"""Results in, advice out: `init`, `moved` and `update`."""

from __future__ import annotations

from dataclasses import replace
from math import hypot, isfinite

from ..results import FrameResult, Status
from . import alerts
from .alerts import followed, leaving
from .settings import AdviceSettings
from .state import Advice, AdviceState, AlertEvidence, Kind, Severity, StageMove, settle

_STEPS = 9


def init() -> AdviceState:
    """State before the first frame of a run."""
    return AdviceState()


def moved(state: AdviceState, move: StageMove) -> AdviceState:
    """Be told of a move of the stage that shifts the image; frames from its time on show it.

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
    The state after the frame, and what is to be told; moves that were made come first.
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
        state, more = _looked_at(state, result, shape, settings)
        findings += more
    now = (result.frame, result.time)
    latches, told = settle(state.latches, findings, now, settings)
    return replace(state, latches=latches), (*acted, *told)


def _looked_at(
    state: AdviceState, result: FrameResult, shape: tuple[int, int], settings: AdviceSettings
) -> tuple[AdviceState, list[AlertEvidence]]:
    """What a frame says in which particles were looked for."""
    blurred = state.blurred + 1 if alerts.is_blurred(result) else 0
    state = replace(state, blurred=blurred)
    known_lost = [particle for kind, particle in state.latches if kind == Kind.LOST]
    findings = [
        *alerts.blur(result, blurred, settings),
        *alerts.lost(result, known_lost, settings),
    ]
    if blurred or not isfinite(result.drift_sigma):  # nothing was measured: particles coast
        return state, findings
    step = _step(state, result)
    findings += [
        *alerts.jump(result, step, state.steps, settings),
        *alerts.recenter(result, settings),
    ]
    paths = followed(state.paths, result, state.offset, settings)
    findings += leaving(paths, result, shape, settings)
    steps = state.steps if step is None else (*state.steps, step)[-_STEPS:]
    drift = (float(result.drift[0]) - state.offset[0], float(result.drift[1]) - state.offset[1])
    return replace(state, paths=paths, steps=steps, drift=drift), findings


def _step(state: AdviceState, result: FrameResult) -> float | None:
    """How far the field has moved since the frame before, of its own accord, px."""
    if state.drift is None:
        return None
    own = (float(result.drift[i]) - state.offset[i] - state.drift[i] for i in (0, 1))
    return hypot(*own)


def _apply_moves(
    state: AdviceState, result: FrameResult, settings: AdviceSettings
) -> tuple[AdviceState, list[Advice]]:
    """Take the moves into account that were made before a frame, and tell them as acted on."""
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
