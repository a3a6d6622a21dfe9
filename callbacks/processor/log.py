"""Warnings about runs: each kind is logged once, the rest is counted and logged at the end."""

from __future__ import annotations

import logging
from collections import Counter

logger = logging.getLogger(__package__)


class OncePerKindLogger:
    """Keeps a run with a thousand bad images from filling the log with a thousand lines."""

    def __init__(self) -> None:
        self._seen: Counter[tuple[str, str]] = Counter()

    def warn(self, run: str, kind: str, message: str, error: BaseException | None = None) -> None:
        """Log the first warning of a kind, count the others.

        Parameters
        ----------
        run : uid of the run, named in every line.
        kind : what it is about, as the last line names it, e.g. ``sample images: missing_file``.
        message : the sentence for the log.
        error : a fault of ours; its traceback is logged too.
        """
        self._seen[run, kind] += 1
        if self._seen[run, kind] == 1:
            logger.warning("run %s: %s", run, message, exc_info=error)

    def close_run(self, run: str) -> None:
        """Log what was counted of a run, and forget it."""
        for uid, kind in [key for key in self._seen if key[0] == run]:
            count = self._seen.pop((uid, kind))
            if count > 1:
                logger.warning("run %s: %d more %s", uid, count - 1, kind)
