"""Which difficulties a particle of a training scene poses, for scores by difficulty."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, minimum_filter

from .scenes import Scene

REGIMES = ("invisible", "noisy", "faint", "touching", "cut", "small", "large")
"""Order of the columns of `regimes_of`."""

_SEEN_SIGMA = 5.0
_SEEN_BACKGROUND = 0.3
_SEEN_OD = 0.008
_NOISY, _FAINT = 1.0, 0.15
_SMALL, _LARGE = 24.0, 90.0


def regimes_of(scene: Scene) -> NDArray[np.bool_]:
    """Tell what is difficult about each particle; any number of things may be.

    ``invisible``: contrast times diameter below 5 sigma of the noise of a pixel (the best filter
    sees about 4 sigma), below 0.3 of the structure of the background, or below 0.008 OD.
    ``noisy``: signal-to-noise ratio of a pixel below 1. ``faint``: contrast below 0.15 OD.
    ``touching``: next to another particle, or over it. ``cut``: by the frame. ``small``,
    ``large``: diameter below 24 px, above 90 px.

    Returns
    -------
    (P, 7) bool, columns as in `REGIMES`.
    """
    d = scene.diameter
    unseen = (scene.snr * d < _SEEN_SIGMA) | (scene.contrast < _SEEN_OD)
    unseen |= scene.contrast < _SEEN_BACKGROUND * scene.background
    return np.stack(
        [
            unseen,
            scene.snr < _NOISY,
            scene.contrast < _FAINT,
            _touching(scene),
            ~scene.whole,
            d < _SMALL,
            d > _LARGE,
        ],
        axis=1,
    )


def _touching(scene: Scene) -> NDArray[np.bool_]:
    labels, none = scene.labels, np.iinfo(np.int32).max
    highest = maximum_filter(labels, size=3, mode="nearest")
    lowest = minimum_filter(np.where(labels > 0, labels, none), size=3, mode="nearest")
    found = np.unique(labels[(labels > 0) & (highest != lowest)])
    return np.isin(np.arange(1, len(scene.yx) + 1), found)
