"""Counts and back: a frame seen by the simulated camera and corrected as in the live path."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..correct import Correction, CorrectSettings, apply, prepare_flat
from ..frames import FrameKey
from ..simulate import SimSettings
from ..simulate.background import make_background, make_illumination
from ..simulate.camera import Camera

Image = NDArray[np.float32]
_DARKS = 5


class Microscope:
    """Light, background and camera of a training scene.

    Parameters
    ----------
    settings : of the simulated microscope; its energies number the frames.
    """

    def __init__(self, settings: SimSettings) -> None:
        self._settings = settings
        self._correct = CorrectSettings()
        self._background = make_background(settings)
        self._illumination = make_illumination(settings)
        self._camera = Camera(settings)
        night = np.zeros(settings.shape, np.float32)
        self._dark = _mean(self._camera.expose(night, _DARKS, (0, 0)))

    def image(
        self, frame: int, sample: Image, flats: int
    ) -> tuple[Image, NDArray[np.bool_], Image]:
        """Expose a sample and its flat, and correct the mean of the exposures.

        Parameters
        ----------
        frame : 0-based, below the number of energies; the background lies elsewhere in each.
        sample : (H, W) OD of all but the background.
        flats : exposures of the flat.

        Returns
        -------
        od : (H, W) float32.
        valid : (H, W) bool.
        noise : (H, W) float32, expected rms of each pixel, OD.
        """
        s = self._settings
        energy = s.scan_energies[frame]
        rng = np.random.default_rng([s.seed, 12, frame])
        shift = rng.uniform(0, 1, 2) * s.shape
        light = self._illumination.at(energy) * np.float32(s.counts)
        seen = self._illumination.at(energy, s.flat_lag_px * rng.standard_normal(2))
        seen *= np.float32(s.counts)
        seen *= np.exp(-sample - self._background.od(np.eye(2), shift, energy))
        flat = _mean(self._camera.expose(light, flats, (1, frame)))
        image = _mean(self._camera.expose(seen, s.chunk, (2, frame)))
        reference = prepare_flat(flat, self._dark, self._correct)
        correction = Correction(
            frame=frame,
            key=FrameKey(run="training", stream="primary", data_key="image", seq_num=1, index=0),
            energy=energy,
            time=0.0,
            revision=0,
            provisional=False,
            final=True,
            dark=self._dark,
            reference=reference,
            log_scale=0.0,
            note="",
        )
        corrected = apply(image, correction, self._correct)
        variance = _variance(seen, s.chunk, s.read_noise) + _variance(light, flats, s.read_noise)
        return corrected.od, corrected.valid, np.sqrt(variance)


def _mean(images: NDArray[np.uint16]) -> Image:
    return images.mean(axis=0, dtype=np.float32)


def _variance(light: Image, n: int, read_noise: float) -> Image:
    """Of the logarithm of the mean of n exposures."""
    few = np.maximum(light, np.float32(1))
    return (few + np.float32(read_noise**2)) / (few * few * n)
