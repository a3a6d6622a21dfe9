"""Warnings about one run: each kind is told once, the rest is counted and told at the end."""

from __future__ import annotations

import logging
from collections import Counter


class Remarks:
    """Keeps a run with a thousand bad images from filling the log with a thousand lines.

    Parameters
    ----------
    logger : takes the lines.
    run : uid of the run, named in every line.
    """

    def __init__(self, logger: logging.Logger, run: str) -> None:
        self._logger = logger
        self._run = run
        self._seen: Counter[str] = Counter()

    def warn(self, kind: str, message: str, error: BaseException | None = None) -> None:
        """Log the first remark of a kind, count the others.

        Parameters
        ----------
        kind : what it is about, as the last line names it, e.g. ``sample images: missing_file``.
        message : the sentence for the log.
        error : a fault of ours; its traceback is logged too.
        """
        self._seen[kind] += 1
        if self._seen[kind] == 1:
            self._logger.warning("run %s: %s", self._run, message, exc_info=error)

    def close(self) -> None:
        """Tell what was counted."""
        for kind, count in self._seen.items():
            if count > 1:
                self._logger.warning("run %s: %d more %s", self._run, count - 1, kind)
        self._seen.clear()
