"""What the truth of a scene allows at best: the Cramer-Rao bound and an oracle's alignment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...evaluate.bound import Bound, cramer_rao
from ...evaluate.similarity import adjacent_ssim
from .scene import Scene


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The scales of a scene.

    Attributes
    ----------
    bound : of positions above the edge.
    oracle : (F - 1, P) SSIM of adjacent ROIs that are aligned by the true positions.
    """

    bound: Bound
    oracle: NDArray[np.float32]


def reference(scene: Scene) -> Reference:
    """Work out the bound above the edge, and align by the truth."""
    truth = scene.truth
    above = np.flatnonzero(truth.region == "above")
    yx = np.where(truth.whole[..., None], truth.yx, np.nan)
    return Reference(
        bound=cramer_rao(scene.simulator, above),
        oracle=adjacent_ssim(scene.od, yx, truth.radius),
    )
