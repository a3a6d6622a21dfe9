"""What has come in and waits, and for how long."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from ..streamer.frames import NamedDocument

_BRING_FRAMES = frozenset({"event", "event_page", "stream_datum", "datum", "datum_page"})


class Backlog:
    """Watches documents go by.

    Parameters
    ----------
    timer : gives the time, s, from any origin.
    """

    def __init__(self, timer: Callable[[], float]) -> None:
        self._timer = timer
        self._since: float | None = None
        self._to_come = 0

    def of(self, documents: Iterable[NamedDocument]) -> Iterator[NamedDocument]:
        """Yield documents that have come in now; how many remain is known of sequences only."""
        self._since = self._timer()
        known = documents if isinstance(documents, Sequence) else ()
        self._to_come = sum(name in _BRING_FRAMES for name, _ in known)
        for name, doc in documents:
            if name in _BRING_FRAMES:
                self._to_come = max(0, self._to_come - 1)
            yield name, doc

    @contextmanager
    def unhurried(self) -> Iterator[None]:
        """Nobody waits for what is done meanwhile, and it does not count for what comes after."""
        self._since = None
        try:
            yield
        finally:
            self._since = self._timer()

    @property
    def to_come(self) -> int:
        """Frames that the documents after the present one may bring."""
        return self._to_come

    @property
    def waited(self) -> float | None:
        """For how long the present documents have been in, s; None if nobody waits for them."""
        return None if self._since is None else self._timer() - self._since
