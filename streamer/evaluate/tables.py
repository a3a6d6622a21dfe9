"""Choosing rows of the ``particles`` table."""

from __future__ import annotations

from typing import Any, Literal, cast

import pandas as pd

Revision = Literal["highest", "first"]
MEASURED = ("tentative", "tracked")
"""States in which a position was measured; coasting positions are predictions."""


def where(table: pd.DataFrame, mask: Any) -> pd.DataFrame:
    """Rows of a table for which `mask` holds."""
    return cast("pd.DataFrame", table.loc[mask])


def of_revision(particles: pd.DataFrame, revision: Revision) -> pd.DataFrame:
    """Rows of the ``highest`` revision of each frame, or of the ``first``.

    A particle that the highest revision of a frame no longer holds was retracted with it.
    """
    if revision == "first":
        return where(particles, particles["revision"] == 0)
    newest = particles.groupby("frame")["revision"].transform("max")
    return where(particles, particles["revision"] == newest)
