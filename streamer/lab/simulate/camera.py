"""Counts: shot noise, read noise, hot pixels, 16 bit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .settings import SimSettings

_GAUSSIAN_FROM = 60.0
_PER_SIDE = 4.0  # random values along each side of the frame
_WIDTH = 0.7  # of each, in distances between them
_MOST = 2.0  # standard deviations


class Camera:
    """A 16-bit area detector.

    Parameters
    ----------
    settings : dark level, noise, hot pixels.
    """

    def __init__(self, settings: SimSettings) -> None:
        self._settings = settings
        rng = np.random.default_rng([settings.seed, 8])
        offset = np.full(settings.shape, settings.dark_level, np.float32)
        n = min(settings.hot_pixels, offset.size)
        hot = rng.choice(offset.size, n, replace=False)
        offset.ravel()[hot] += rng.uniform(1500, 30000, n).astype(np.float32)
        self._offset = offset

    def expose(
        self, light: NDArray[np.float32], n: int, address: tuple[int, int]
    ) -> NDArray[np.uint16]:
        """Take n images.

        Parameters
        ----------
        light : (H, W) expected photon counts.
        n : number of images.
        address : what kind of image and which one; the noise follows from it and the seed.

        Returns
        -------
        (n, H, W) uint16.
        """
        s = self._settings
        rng = np.random.default_rng([s.seed, 9, *address])
        images = np.empty((n, *light.shape), np.uint16)
        few = np.flatnonzero((light > 0) & (light < _GAUSSIAN_FROM))
        for i in range(n):
            level = light * np.float32(1 + s.flicker * rng.standard_normal())
            noisy = rng.standard_normal(light.shape, dtype=np.float32)
            noisy *= np.sqrt(level + np.float32(s.read_noise**2))
            noisy += level
            if few.size:
                # A Gaussian is no substitute for a Poisson distribution of a few counts.
                weak = rng.poisson(level.ravel()[few]).astype(np.float32)
                weak += s.read_noise * rng.standard_normal(few.size, dtype=np.float32)
                noisy.ravel()[few] = weak
            noisy += self._offset
            np.rint(noisy, out=noisy)
            images[i] = np.clip(noisy, 0, 65535, out=noisy)
        return images


# What differs from one frame to the next beside the sample: a smooth background, and the light.


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
