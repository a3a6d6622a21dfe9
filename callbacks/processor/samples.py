"""What is known of each sample from one of its runs to the next."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ...streamer.core.advice import StageMove
from ...streamer.core.advice.state import MOVES_STREAM
from ...streamer.core.assemble.events import events_of_page
from ...streamer.core.assemble.state import AssemblerState
from ...streamer.core.assemble.values import MalformedDocument, number, optional_text, section
from ...streamer.core.pipeline.pipeline import PipelineState
from .run import RawRun

_UNNAMED = "run "


class Samples:
    """Particles of samples whose runs are over; the samples seen last are kept.

    Parameters
    ----------
    most : samples that are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._states: dict[str, PipelineState] = {}
        self._next: dict[str, int] = {}

    @staticmethod
    def name_of(start: Mapping[str, Any], key: str) -> str:
        """Name the sample of a run; one that its start document does not name is the run's own."""
        sample = start.get(key)
        named = isinstance(sample, str | int | float | Mapping) and bool(sample)
        return str(sample) if named else f"{_UNNAMED}{start['uid']}"

    def begin(
        self,
        sample: str,
        init: Callable[[], PipelineState],
        again: Callable[[PipelineState], PipelineState],
    ) -> PipelineState:
        """State for a new run: of a sample never seen, or seen in an earlier run."""
        known = self._states.get(sample)
        return init() if known is None else again(known)

    def given(self, sample: str) -> int:
        """Smallest identity that no particle of a sample has been given."""
        return self._next.get(sample, 0)

    def give(self, sample: str, next_particle: int) -> None:
        """Note that identities below `next_particle` are taken."""
        self._next[sample] = next_particle

    def remember(self, sample: str, state: PipelineState) -> None:
        """Keep the particles of a run that is over, and forget the samples seen longest ago."""
        self._states.pop(sample, None)
        self._states[sample] = state
        while len(self._states) > self._most:
            oldest = next(iter(self._states))
            del self._states[oldest]
            if oldest.startswith(_UNNAMED):  # no other run is of this sample
                self._next.pop(oldest, None)

    def snapshot(self) -> dict[str, Any]:
        """State, made of what `streamer.io.checkpoint` can encode."""
        return {"states": self._states, "next": self._next}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a snapshot."""
        self._states, self._next = state["states"], state["next"]


# Moves of the stage that a feedback loop has recorded in the raw run.


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
