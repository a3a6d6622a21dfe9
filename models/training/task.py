"""What can be trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import nn


class Task(Protocol):
    """One network, or several that are trained against each other, with their data.

    Attributes
    ----------
    networks : by name; what is saved.
    aim : key of `score` that is to become large; training keeps the weights of its best value.
    """

    networks: dict[str, nn.Module]
    aim: str

    def step(self, rate: float) -> Mapping[str, float]:
        """Take one step at this learning rate; returns the losses."""
        ...

    def score(self) -> Mapping[str, float]:
        """Scores on held-out data."""
        ...

    def state(self) -> dict[str, Any]:
        """Everything that a later `restore` needs to go on from here, as tensors and plain data."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        ...
