"""What the truth of a scene allows at best: the Cramer-Rao bound and an oracle's alignment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...evaluate.bound import Bound, cramer_rao
from .cutouts import Floats
from .scene import Scene
from .similarity import Alignment, align


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The scales of a scene.

    Attributes
    ----------
    bound : of positions above the edge. data_range : of SSIM, OD: the peak of the particle that
        ever absorbs most. oracle : the ROIs cut at the true positions.
    """

    bound: Bound
    data_range: float
    oracle: Alignment


def reference(scene: Scene) -> Reference:
    """Work out the bound above the edge, and align by the truth."""
    truth = scene.truth
    above = np.flatnonzero(truth.region == "above")
    data_range = 1.5 * float(truth.od.max())  # the mean over an ellipsoid is 2/3 of its peak
    yx: Floats = np.where(truth.whole[..., None], truth.yx, np.nan)
    return Reference(
        bound=cramer_rao(scene.simulator, above),
        data_range=data_range,
        oracle=align(scene, yx, data_range),
    )
