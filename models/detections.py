"""What a detector returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Detections:
    """The particles seen in one frame; row ``i`` has the label ``i + 1``.

    Attributes
    ----------
    labels : (H, W) int32, 0 is background, ``i + 1`` the mask of detection ``i``.
    yx : (N, 2) float64, centre of mass of each mask, px, pixel centres.
    area : (N,) float64, mask area, px^2.
    moments : (N, 3) float64, central second moments (yy, xx, yx) of the mask, px^2.
    bbox : (N, 4) int64, half-open bounds (y0, x0, y1, x1).
    contrast : (N,) float64, mean OD inside minus OD of the local background, OD.
    score : (N,) float64 in 0..1, how sure the detector is.
    cut : (N,) bool, the mask touches the rim of the frame or of the valid area.
    doubt : why the detector does not trust itself in this frame, one word or several with
        underscores (``out_of_distribution``); empty if it does.
    """

    labels: NDArray[np.int32]
    yx: NDArray[np.float64]
    area: NDArray[np.float64]
    moments: NDArray[np.float64]
    bbox: NDArray[np.int64]
    contrast: NDArray[np.float64]
    score: NDArray[np.float64]
    cut: NDArray[np.bool_]
    doubt: str = ""

    def __len__(self) -> int:
        return len(self.yx)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Where particles are expected in a frame, from the frames before.

    Particles may be some pixels away from there, as masks wander and what all of them have moved in
    common is known roughly.

    Attributes
    ----------
    centres : (N, 2) float64, (y, x) centres of mass of what the frame shows of them, px.
    diameters : (N,) float64, of the discs of the same area as that, px.
    """

    centres: NDArray[np.float64]
    diameters: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.centres)
