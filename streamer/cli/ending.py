"""How a command ends: after so many runs, or at Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

from ..frames import Document
from .terminal import say


def end_after(runs: int, stop: threading.Event) -> Callable[[str, Document], None]:
    """Make a callback that sets `stop` when so many result runs have stopped."""
    left = runs

    def count(_name: str, _doc: Document) -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            stop.set()

    return count


def stop_at_signals(
    message: str = "ending; once more gives up what is not delivered yet",
) -> threading.Event:
    """Have SIGINT (Ctrl-C) and SIGTERM set an event; a second one interrupts what goes on."""
    stop = threading.Event()
    signals = 0

    def handle(*_: object) -> None:
        nonlocal signals
        signals += 1
        if signals > 1:
            raise KeyboardInterrupt
        stop.set()
        say(message, "yellow")

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)
    return stop
