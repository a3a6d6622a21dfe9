"""Positions by every way of ours on the frames of a series."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from ....callbacks.processor import StreamProcessor
from ...config import Settings
from ...evaluate.tables import of_revision
from ...frames import Document
from ..accuracy.estimates import Estimate
from .series import Series

_COLUMNS = ("frame", "particle", "y", "x", "state", "revision")


class Rows:
    """Keeps the scalars of the ``particles`` stream; a subscriber of the processor."""

    def __init__(self) -> None:
        self._rows: list[dict[str, Any]] = []
        self._stream = ""

    def __call__(self, name: str, doc: Document) -> None:
        """Take a result document."""
        if name == "descriptor" and doc["name"] == "particles":
            self._stream = doc["uid"]
        elif name == "event" and doc["descriptor"] == self._stream:
            values = doc["data"].items()
            self._rows.append({k: v for k, v in values if not isinstance(v, np.ndarray)})

    @property
    def table(self) -> pd.DataFrame:
        """One row per particle, frame and revision."""
        if not self._rows:
            return pd.DataFrame(dict.fromkeys(_COLUMNS, np.zeros(0)))
        return pd.DataFrame(self._rows)


def our_estimate(
    name: str, series: Series, settings: Settings, progress: Callable[[], object] = lambda: None
) -> tuple[Estimate, Estimate]:
    """Send the documents through a processor; `progress` is called after each.

    Returns
    -------
    The positions as they stood in the end, and as they were told at once.
    """
    rows = Rows()
    processor = StreamProcessor(settings)
    processor.subscribe(rows)
    for document in series.documents:
        processor(*document)
        progress()
    processor.close()
    final, first = (of_revision(rows.table, which) for which in ("highest", "first"))
    return (
        Estimate(name=name, rows=final.assign(revision=0)),
        Estimate(name=name, rows=first.assign(revision=0)),
    )
