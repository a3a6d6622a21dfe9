"""Hands messages to viewers; one that does not keep up is sent away and may come back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

Payload = str | bytes

_MOST_BYTES = 64 << 20

_DROPPABLE_BEHIND = 4


@dataclass(eq=False, slots=True)
class Viewer:
    """One page. Its queue lives in the event loop of the web server.

    Attributes
    ----------
    number : its number.
    waiting : messages on their way to it; None ends it.
    held : bytes that wait.
    """

    number: int
    waiting: asyncio.Queue[Payload | None] = field(default_factory=asyncio.Queue)
    held: int = 0

    def offer(self, payload: Payload, *, droppable: bool) -> bool:
        """Queue a message; return False if the viewer is too far behind."""
        if droppable and self.waiting.qsize() >= _DROPPABLE_BEHIND:
            return True
        self.held += len(payload)
        self.waiting.put_nowait(payload)
        return self.held <= _MOST_BYTES

    async def take(self) -> Payload | None:
        """Wait for the next message; None at the end."""
        payload = await self.waiting.get()
        self.held -= 0 if payload is None else len(payload)
        return payload


class Hub:
    """All viewers; `send` may be called from any thread, the rest from the event loop."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._viewers: dict[int, Viewer] = {}
        self._next = 1

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin, in the event loop of the web server."""
        self._loop = loop

    def close(self) -> None:
        """Send all viewers away."""
        for viewer in tuple(self._viewers.values()):
            self.leave(viewer)
        self._loop = None

    def join(self) -> Viewer:
        """Add a viewer."""
        viewer = Viewer(self._next)
        self._viewers[viewer.number] = viewer
        self._next += 1
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """Remove a viewer."""
        if self._viewers.pop(viewer.number, None) is not None:
            viewer.waiting.put_nowait(None)

    @property
    def count(self) -> int:
        """Number of viewers."""
        return len(self._viewers)

    def send(self, numbers: Iterable[int], payload: Payload, *, droppable: bool = False) -> None:
        """Send a message to some viewers; one that is too far behind is sent away."""
        loop, chosen = self._loop, tuple(numbers)
        if loop is not None and chosen and not loop.is_closed():
            loop.call_soon_threadsafe(self._deliver, chosen, payload, droppable)

    def _deliver(self, numbers: tuple[int, ...], payload: Payload, droppable: bool) -> None:
        for number in numbers:
            viewer = self._viewers.get(number)
            if viewer is not None and not viewer.offer(payload, droppable=droppable):
                self.leave(viewer)
