"""What is known of each sample from one of its runs to the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..streamer.pipeline import PipelineState

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
        """State, made of what `streamer.checkpoint` can encode."""
        return {"states": self._states, "next": self._next}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a snapshot."""
        self._states, self._next = state["states"], state["next"]
