"""What differs from one frame to the next beside the sample: a smooth background, and the light."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .settings import SimSettings

_PER_SIDE = 4.0  # random values along each side of the frame
_WIDTH = 0.7  # of each, in distances between them
_MOST = 2.0  # standard deviations


def haze(settings: SimSettings, frame: int) -> NDArray[np.float32] | None:
    """Smooth random background of one frame, (H, W) float32, OD; None if there is none.

    As flats leave it that do not match their sample image: Gaussian bumps of random height at
    every quarter of the frame, weighted so that the variance is the same everywhere.
    """
    if not settings.haze > 0:
        return None
    rng = np.random.default_rng([settings.seed, 13, frame])
    rows, columns = (_bumps(size) for size in settings.shape)
    heights = rng.standard_normal((len(rows), len(columns))) * settings.haze
    return (rows.T @ heights @ columns).astype(np.float32)


def brightness(settings: SimSettings, frame: int) -> np.float32:
    """Light at the energy of a frame over what it would be without `counts_spread`."""
    rng = np.random.default_rng([settings.seed, 14, frame])
    deviation = np.clip(rng.standard_normal(), -_MOST, _MOST)
    return np.float32(np.exp(settings.counts_spread * deviation))


def _bumps(size: int) -> NDArray[np.float64]:
    """Weights (N, size) of N bumps along one side; their squares add up to 1 at every pixel."""
    places = np.arange(-1.5, _PER_SIDE + 2)
    at = np.arange(size) * _PER_SIDE / size
    weights = np.exp(-0.5 * ((at - places[:, None]) / _WIDTH) ** 2)
    return weights / np.sqrt((weights**2).sum(axis=0))
