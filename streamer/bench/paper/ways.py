"""The ways of ours that are compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ....callbacks.processor import StreamProcessor
from ...config import Settings, load_settings
from ...errors import ConfigError

_CENTRE_OF_MASS = {"refine": False, "whole_scan": False}


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
