"""Counts: shot noise, read noise, hot pixels, 16 bit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .settings import SimSettings

_GAUSSIAN_FROM = 60.0


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
