"""Moves of the stage that a feedback loop has recorded in the raw run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..streamer.advice import StageMove
from ..streamer.advice.advice import MOVES_STREAM
from ..streamer.assemble.events import events_of_page
from ..streamer.assemble.state import AssemblerState
from ..streamer.assemble.values import MalformedDocument, number, optional_text, section
from .raw_run import RawRun


def tell_moves(runs: Mapping[str, RawRun], state: AssemblerState, name: Any, doc: Any) -> None:
    """Let open runs know of the moves that a document tells; see `moves_of`."""
    for uid, move in moves_of(state, name, doc):
        if uid in runs:
            runs[uid].output.moved(move)


def moves_of(state: AssemblerState, name: Any, doc: Any) -> Iterator[tuple[str, StageMove]]:
    """Moves that a document tells, with the uid of their run.

    Parameters
    ----------
    state : knows the streams. name, doc : any document; nothing about it is taken for granted.
    """
    if name not in ("event", "event_page") or not isinstance(doc, Mapping):
        return
    stream = state.streams.get(optional_text(doc, "descriptor"))
    if stream is None or stream.name != MOVES_STREAM:
        return
    try:
        events = [doc] if name == "event" else list(events_of_page(doc))
    except MalformedDocument:  # the assembler has said so
        return
    for event in events:
        move = _move(event)
        if move is not None:
            yield stream.run, move


def _move(event: Mapping[str, Any]) -> StageMove | None:
    data = {k.removeprefix(f"{MOVES_STREAM}_"): v for k, v in section(event, "data").items()}
    time = number(event.get("time"))
    if number(data.get("acted")) != 1 or time is None:
        return None
    y, x, sigma = (_or_nan(number(data.get(key))) for key in ("move_y", "move_x", "sigma"))
    return StageMove(time=time, move=(y, x), sigma=sigma, reason=optional_text(data, "reason")[:40])


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
