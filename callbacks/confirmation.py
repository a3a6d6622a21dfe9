"""How far a sink has come: which of the documents given to it are safe.

Who keeps a journal may forget what is confirmed, and must be able to make the rest again. A
document is *settled* when the sink has done with it all that it ever will: it is safe, or the
sink counted it as given up (see `SinkCounts`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class ConfirmingSink(Protocol):
    """A sink that tells which of its documents are safe, not only taken.

    Both counts only grow, may be asked from any thread, and cost nothing.
    """

    def __call__(self, name: str, doc: Mapping[str, Any], /) -> object:
        """Take one document."""
        ...

    @property
    def received(self) -> int:
        """Documents given to the sink so far."""
        ...

    @property
    def confirmed(self) -> int:
        """Largest n such that the first n documents given to the sink are settled."""
        ...


class Settled:
    """Numbers documents as they come, and finds the first that is not settled.

    Documents pass in order, but some may be given up on the way. Not locked: the owner locks.

    Attributes
    ----------
    received : documents numbered so far.
    """

    def __init__(self) -> None:
        self.received = 0
        self._given: deque[int] = deque()
        self._passed = 0
        self._refused: int | None = None

    def number(self) -> int:
        """Number the next document, from 1."""
        self.received += 1
        return self.received

    def give(self, number: int) -> None:
        """Note that a document goes to the sink behind; numbers must grow."""
        self._given.append(number)

    def settle(self, count: int) -> None:
        """Note that the first `count` of the documents given to the sink are settled."""
        while self._passed < count and self._given:
            self._given.popleft()
            self._passed += 1

    def refuse(self, number: int) -> None:
        """Note a document that can never be settled: nothing from it on is confirmed."""
        self._refused = number if self._refused is None else self._refused

    def confirmed(self, waiting: int | None) -> int:
        """Return how many documents are settled from the first on, without a gap.

        Parameters
        ----------
        waiting : number of the oldest document that was not yet given to the sink; None if there
            is none.
        """
        unsettled = [self.received + 1]
        if self._given:
            unsettled.append(self._given[0])
        if waiting is not None:
            unsettled.append(waiting)
        if self._refused is not None:
            unsettled.append(self._refused)
        return min(unsettled) - 1
