"""Whose turn it is: arrays of a run that need not be sent in every round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from ..streamer.tiled_settings import TiledSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn of all arrays that are not prompt, one a round.

    Attributes
    ----------
    parts : streams and arrays that are still to come.
    due : when the next turn may begin, s of the monotonic clock.
    received : documents that had come when it began.
    whole : whether all that waited then has been sent so far.
    """

    parts: tuple[tuple[str, str], ...] = ()
    due: float = float("-inf")
    received: int = 0
    whole: bool = False

    @classmethod
    def begin(
        cls,
        waiting: Mapping[str, Mapping[str, int]],
        settings: TiledSettings,
        now: float,
        received: int,
    ) -> Self:
        """Begin a turn.

        Parameters
        ----------
        waiting : rows and images that wait, by stream and array, after the prompt ones were sent.
        """
        parts = [(stream, part) for stream, held in waiting.items() for part in held]
        prompt = [p for p in parts if "/".join(p) in settings.prompt]
        return cls(
            parts=tuple(p for p in parts if p not in prompt),
            due=now + settings.others_s,
            received=received,
            whole=not prompt,  # what still waits of those is held back
        )

    @property
    def over(self) -> bool:
        """Whether all have had their turn."""
        return not self.parts

    def next(self) -> tuple[tuple[str, str], Self]:
        """Whose turn it is, and those that come after."""
        return self.parts[0], replace(self, parts=self.parts[1:])

    def sent(self, *, left: bool) -> Self:
        """After an array was sent; `left`: something of it was held back."""
        return replace(self, whole=self.whole and not left)


def prompt_parts(prompt: tuple[str, ...], stream: str) -> tuple[str, ...]:
    """Arrays of a stream that are sent in every round."""
    return tuple(p.partition("/")[2] for p in prompt if p.partition("/")[0] == stream)
