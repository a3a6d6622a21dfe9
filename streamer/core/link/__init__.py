"""Detections to particles: identities over frames."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ....models.detector import Detections
from .settings import LinkSettings
from .tracks import LinkResult, LinkState, Observation, Track, TrackState

__all__ = [
    "LINKERS",
    "LinkResult",
    "LinkSettings",
    "LinkState",
    "Linker",
    "Observation",
    "Track",
    "TrackState",
    "make_linker",
]

LINKERS = {
    "voting": "operando.streamer.core.link.linker:VotingLinker",
    "ssim": "operando.streamer.core.link.ssim:SsimLinker",
}


class Linker(Protocol):
    """Gives identities to detections, one frame at a time; keeps no state of its own."""

    def init(self) -> LinkState:
        """Return the state before the first frame of a sample."""
        ...

    def start_run(self, state: LinkState) -> LinkState:
        """Return the state at the start of a further run of the same sample."""
        ...

    def update(
        self,
        state: LinkState,
        detections: Detections,
        od: NDArray[np.float32],
        claims: tuple[Observation, ...] = (),
        valid: NDArray[np.bool_] | None = None,
    ) -> tuple[LinkState, LinkResult]:
        """Link the detections of the next frame.

        `od` is (H, W), optical density, and `valid` tells the pixels in which particles can be
        seen; a particle that is new to `state` takes the identity of the claim at its place, if
        there is one.
        """
        ...

    def confirm(self, state: LinkState, measured: Mapping[int, NDArray[np.float64]]) -> LinkState:
        """Keep particles that were measured, at (2,) px in the image, without a detection."""
        ...


def make_linker(settings: LinkSettings) -> Linker:
    """Make the linker that `settings.kind` names."""
    factory = pkgutil.resolve_name(LINKERS.get(settings.kind, settings.kind))
    return factory(settings)
