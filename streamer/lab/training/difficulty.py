"""Which difficulties a particle of a training scene poses, for scores by difficulty."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .scenes import TrainingScene
from .targets import touching_pixels

REGIMES = ("invisible", "noisy", "faint", "touching", "cut", "small", "large")
"""Order of the columns of `regimes_of`."""

_SEEN = 2.5

_NOISY, _FAINT = 1.0, 0.15

_SMALL, _LARGE = 24.0, 90.0


def regimes_of(scene: TrainingScene) -> NDArray[np.bool_]:
    """Tell what is difficult about each particle; any number of things may be.

    ``invisible``: `TrainingScene.visibility` below 2.5; nothing should be learnt about these.
    ``noisy``: signal-to-noise ratio of a pixel below 1. ``faint``: contrast below 0.15 OD.
    ``touching``: next to another particle, or over it. ``cut``: by the frame. ``small``,
    ``large``: diameter below 24 px, above 90 px.

    Returns
    -------
    (P, 7) bool, columns as in `REGIMES`.
    """
    d = scene.diameter
    return np.stack(
        [
            scene.visibility < _SEEN,
            scene.snr < _NOISY,
            scene.contrast < _FAINT,
            _touching(scene),
            ~scene.whole,
            d < _SMALL,
            d > _LARGE,
        ],
        axis=1,
    )


def _touching(scene: TrainingScene) -> NDArray[np.bool_]:
    found = np.unique(scene.labels[touching_pixels(scene.labels)])
    return np.isin(np.arange(1, len(scene.yx) + 1), found)
