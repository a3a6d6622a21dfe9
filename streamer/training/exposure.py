"""Counts and back: a frame seen by the simulated detector and corrected as in the live path."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...models.arrays import Image
from ..correct import Correction, CorrectSettings, apply, prepare_flat
from ..frames import FrameKey
from ..simulate import SimSettings
from ..simulate.background import make_background, make_illumination

_KEY = FrameKey(run="training", stream="primary", data_key="image", seq_num=1)
_GAUSSIAN_FROM = 60.0
_SATURATED = 65535.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposed:
    """A corrected frame and what is known about it.

    Attributes
    ----------
    od : (H, W) float32, as the corrector gives it. valid : (H, W) bool.
    noise : (H, W) float32, expected rms of each pixel, OD.
    background : (H, W) float32, noise-free OD behind the sample.
    """

    od: Image
    valid: NDArray[np.bool_]
    noise: Image
    background: Image


class Microscope:
    """Light, background and detector of training scenes.

    The light, the background and what a count means are those of the simulator. The mean of n
    exposures is drawn at once, as the sum of n Poisson numbers is one: its detector draws each.

    Parameters
    ----------
    settings : of the simulated microscope; its energies number the frames.
    """

    def __init__(self, settings: SimSettings) -> None:
        self._settings = settings
        self._correct = CorrectSettings()
        self._background = make_background(settings)
        self._illumination = make_illumination(settings)
        rng = np.random.default_rng([settings.seed, 8])
        self._offset = np.full(settings.shape, settings.dark_level, np.float32)
        hot = rng.integers(self._offset.size, size=settings.hot_pixels)
        self._offset.ravel()[hot] += rng.uniform(1500, 30000, len(hot)).astype(np.float32)

    def image(self, rng: np.random.Generator, frame: int, sample: Image, flats: int) -> Exposed:
        """Expose a sample and its flat, and correct the mean of the exposures.

        Parameters
        ----------
        rng : of the noise, and of where the background lies.
        frame : 0-based, below the number of energies.
        sample : (H, W) OD of all but the background.
        flats : exposures of the flat.
        """
        s = self._settings
        energy = s.scan_energies[frame]
        background = self._background.od(np.eye(2), rng.uniform(0, 1, 2) * s.shape, energy)
        light = self._illumination.at(energy) * np.float32(s.counts)
        seen = self._illumination.at(energy, s.flat_lag_px * rng.standard_normal(2))
        seen *= np.float32(s.counts) * np.exp(-sample - background)
        flat, image = self._mean(rng, light, flats), self._mean(rng, seen, s.chunk)
        correction = Correction(
            key=_KEY,
            frame=frame,
            energy=energy,
            time=0.0,
            revision=0,
            provisional=False,
            final=True,
            dark=self._offset,
            reference=prepare_flat(flat, self._offset, self._correct),
            log_scale=0.0,
        )
        corrected = apply(image, correction, self._correct)
        noise = np.sqrt(self._variance(seen, s.chunk) + self._variance(light, flats))
        return Exposed(od=corrected.od, valid=corrected.valid, noise=noise, background=background)

    def _mean(self, rng: np.random.Generator, light: Image, n: int) -> Image:
        """Mean (H, W) of n exposures, counts."""
        s = self._settings
        total = light * np.float32(n * (1 + s.flicker * rng.standard_normal()))
        noisy = rng.standard_normal(light.shape, dtype=np.float32)
        noisy *= np.sqrt(total + np.float32(n * s.read_noise**2))
        noisy += total
        few = np.flatnonzero(total < _GAUSSIAN_FROM)
        if few.size:
            # A Gaussian is no substitute for a Poisson distribution of a few counts.
            weak = rng.poisson(total.ravel()[few]).astype(np.float32)
            spread = np.float32(np.sqrt(n) * s.read_noise)
            noisy.ravel()[few] = weak + spread * rng.standard_normal(few.size, dtype=np.float32)
        noisy *= np.float32(1 / n)
        noisy += self._offset
        return np.clip(noisy, 0, _SATURATED, out=noisy)

    def _variance(self, light: Image, n: int) -> Image:
        """Of the logarithm of the mean of n exposures."""
        few = np.maximum(light, np.float32(1))
        read = np.float32(self._settings.read_noise**2)
        return ((few + read) / (few * few * n)).astype(np.float32, copy=False)
