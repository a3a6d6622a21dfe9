"""Voting on the common shift, then optimal assignment on position and shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...models.arrays import Array, Mask
from ...models.detections import Detections
from . import frame
from .assign import assign
from .frame import Match
from .masks import similarity
from .settings import LinkSettings
from .tracks import LinkResult, LinkState, Sighting


@dataclass(frozen=True, slots=True)
class VotingLinker:
    """The default linker.

    The assignment is within a gate around each prediction that grows while a particle is not seen.
    Intensity takes no part: it changes fourfold over an absorption edge. The structural similarity
    of standardised ROIs is a check on doubtful pairs only.
    """

    settings: LinkSettings

    def init(self) -> LinkState:
        """State before the first frame of a sample."""
        return frame.begin()

    def start_run(self, state: LinkState) -> LinkState:
        """Keep the identities, and search the first frame of the new run more widely."""
        return frame.begin_run(state)

    def update(
        self,
        state: LinkState,
        detections: Detections,
        od: NDArray[np.float32],
        claims: tuple[Sighting, ...] = (),
        valid: Mask | None = None,
    ) -> tuple[LinkState, LinkResult]:
        """Link the detections of the next frame.

        Parameters
        ----------
        state : state after the frame before.
        detections : N detections of this frame.
        od : (H, W) float32, the frame as optical density.
        claims : identities that an earlier look at this frame gave. A particle that is new to
            `state` takes over the one at its place.
        valid : (H, W) bool, pixels in which particles can be seen; all if None.

        Returns
        -------
        The state after this frame, and the identities in it.
        """
        valid = np.ones(od.shape, bool) if valid is None else valid
        ahead = frame.look_ahead(state, detections, od, valid, self.settings)
        scene = ahead.scene
        matches = {
            t: Match(row=n, similarity=similarity(scene.tracks[t].thumbnail, scene.looks[n].view))
            for t, n in assign(scene, self.settings).items()
        }
        return frame.conclude(state, ahead, matches, claims, self.settings)

    def confirm(self, state: LinkState, measured: Mapping[int, Array]) -> LinkState:
        """Keep particles that were measured, at (2,) px in the image, without a detection."""
        return frame.confirm(state, measured, self.settings)
