"""When a service ends by itself."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..frames import Document


def end_after(runs: int, stop: threading.Event) -> Callable[[str, Document], None]:
    """Make a callback that sets `stop` when so many result runs have stopped."""
    left = runs

    def count(_name: str, _doc: Document) -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            stop.set()

    return count
