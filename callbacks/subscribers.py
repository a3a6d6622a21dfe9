"""Subscribers to result documents."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Any

from ..streamer.core.frames import Document

logger = logging.getLogger(__name__)
Callback = Callable[[str, Document], Any]


class Subscribers:
    """Hands documents to callbacks; one that fails does not disturb the others."""

    def __init__(self) -> None:
        self._callbacks: dict[int, tuple[Callback, str]] = {}
        self._tokens = count()
        self._failures: Counter[int] = Counter()

    def add(self, func: Callback, name: str) -> int:
        """Have `func` called with documents called `name`, or with ``all``; returns a token."""
        token = next(self._tokens)
        self._callbacks[token] = (func, name)
        return token

    def remove(self, token: int) -> None:
        """Stop calling the callback that has this token."""
        self._callbacks.pop(token, None)

    @property
    def failures(self) -> int:
        """Return the number of documents that callbacks failed to take."""
        return self._failures.total()

    def emit(self, name: str, doc: Document) -> None:
        """Hand a document to all whom it concerns."""
        for token, (func, wanted) in list(self._callbacks.items()):
            if wanted not in ("all", name):
                continue
            try:
                func(name, doc)
            except Exception:
                self._failures[token] += 1
                if self._failures[token] == 1:
                    logger.exception(
                        "a subscriber of the results failed on a %s document; "
                        "further failures are counted, not logged",
                        name,
                    )
