"""The ways of ours that are compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from .....callbacks.processor.processor import StreamProcessor
from ....config import Settings, load_settings
from ....core.frames import Document
from ....errors import ConfigError
from ...evaluate.matching import of_revision
from ..accuracy.scene import Estimate
from .series import Series

_CENTRE_OF_MASS = {"refine": False, "whole_scan": False}
_COLUMNS = ("frame", "particle", "y", "x", "state", "revision")


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to set the processor.

    Attributes
    ----------
    name : in table and figure. meaning : one line for the legend.
    overrides : of the settings of the profile.
    """

    name: str
    meaning: str
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def settings(self, profile: str, process: Mapping[str, Any]) -> Settings:
        """Settings of the processor.

        Parameters
        ----------
        profile : name or path. process : overrides of that section.
        """
        return load_settings(profile, {**self.overrides, "process": process})


WAYS = (
    Way(
        name="ours, as published",
        meaning="networks, linked by SSIM of the ROIs, centre of mass of the contour, no second "
        "look: the path of the paper, with our weights",
        overrides={
            "detect": {"kind": "networks"},
            "link": {"kind": "ssim"},
            "registration": _CENTRE_OF_MASS,
        },
    ),
    Way(
        name="ours, networks",
        meaning="networks, voting linker, rims matched, second look at the stop",
        overrides={"detect": {"kind": "networks"}},
    ),
    Way(
        name="ours, classical",
        meaning="classical detector, voting linker, rims matched, second look at the stop",
        overrides={"detect": {"kind": "threshold"}},
    ),
    Way(
        name="ours, classical, centre of mass",
        meaning="the same, but centres of mass of the masks and no second look",
        overrides={"detect": {"kind": "threshold"}, "registration": _CENTRE_OF_MASS},
    ),
)


def missing(settings: Settings) -> str:
    """Why a processor cannot be made with these settings, e.g. weights; "" if it can."""
    try:
        StreamProcessor(settings).close()
    except ConfigError as error:
        return str(error)
    return ""


# Positions by every way of ours on the frames of a series.


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
