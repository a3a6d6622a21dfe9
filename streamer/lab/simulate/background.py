"""The electrode's background and the light that falls on the detector."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from .settings import SimSettings
from .spectra import NI_K_EDGE

_BANDS = ((40.0, 0.75), (6.0, 0.5), (1.4, 0.45))

_FINE_UP_TO = 1000

_BASE = 3.0


def texture(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> NDArray[np.float32]:
    """Periodic random structure: smooth clouds, binder lumps and fine carbon grain.

    Parameters
    ----------
    rng : source of randomness.
    shape : (H, W) of the result, texels.
    scale : texels per px.

    Returns
    -------
    (H, W) float32, mean 0, rms 1, skewed towards dense lumps.
    """
    noise = np.fft.rfft2(rng.standard_normal(shape, dtype=np.float32))
    ky = np.fft.fftfreq(shape[0])[:, None] * scale
    kx = np.fft.rfftfreq(shape[1])[None, :] * scale
    k2 = (2 * np.pi) ** 2 * (ky**2 + kx**2)
    # A Gaussian blur by s px leaves 1 / (4 pi s^2) of the variance: s equalises the bands.
    filt = sum(weight * s * np.exp(-k2 * s * s / 2) for s, weight in _BANDS)
    field = np.fft.irfft2(noise * filt, s=shape)
    field = np.exp(0.5 * field / field.std())
    return ((field - field.mean()) / field.std()).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedBackground:
    """Structured absorption of carbon, binder and electrolyte; moves with the electrode."""

    field: NDArray[np.float32] | None
    scale: float
    shape: tuple[int, int]

    def od(
        self, linear: NDArray[np.float64], shift: NDArray[np.float64], energy: float
    ) -> NDArray[np.float32]:
        """Optical density of the background in one frame.

        Parameters
        ----------
        linear : (2, 2) map of the electrode, with magnification.
        shift : (2,) its motion, px.
        energy : eV.

        Returns
        -------
        (H, W) float32.
        """
        if self.field is None:
            return np.zeros(self.shape, np.float32)
        centre = (np.array(self.shape) - 1) / 2
        inverse = np.linalg.inv(linear) * self.scale
        offset = centre * self.scale - inverse @ (centre + shift)
        matrix = np.column_stack([inverse, offset])
        moved = affine_transform(
            self.field, matrix, output_shape=self.shape, order=1, mode="grid-wrap"
        ).astype(np.float32, copy=False)
        moved *= np.float32((NI_K_EDGE / energy) ** 3)
        return moved


def make_background(settings: SimSettings) -> SimulatedBackground:
    """Draw the background of an electrode."""
    scale = 2 if max(settings.shape) <= _FINE_UP_TO else 1
    field = None
    if settings.background > 0:
        rng = np.random.default_rng([settings.seed, 6])
        shape = (settings.shape[0] * scale, settings.shape[1] * scale)
        field = np.float32(settings.background) * (_BASE + texture(rng, shape, scale))
    return SimulatedBackground(field=field, scale=float(scale), shape=settings.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedIllumination:
    """Intensity without a sample, 1 at its brightest; the pattern stays with the detector."""

    pattern: NDArray[np.float32]
    centre: NDArray[np.float64]
    travel: NDArray[np.float64]
    span: tuple[float, float]
    low: float | None

    def at(
        self, energy: float, lag: NDArray[np.float64] | tuple[float, float] = (0.0, 0.0)
    ) -> NDArray[np.float32]:
        """Light on the detector: the beam moves and dims with the energy.

        Parameters
        ----------
        energy : eV.
        lag : (2,) how far it lies from its place at that energy, (y, x) px.

        Returns
        -------
        (H, W) float32.
        """
        low, high = self.span
        progress = (energy - low) / max(high - low, 1e-9)
        centre = self.centre + self.travel * np.sin(2.0 * progress) + lag
        rows, columns = (self._profile(axis, centre[axis]) for axis in (0, 1))
        return (1 - 0.12 * np.float32(progress)) * rows[:, None] * columns[None, :] * self.pattern

    def _profile(self, axis: int, centre: float) -> NDArray[np.float32]:
        n = self.pattern.shape[axis]
        x = np.arange(n) - centre
        profile = np.exp(-0.5 * (x / (0.62 * n)) ** 2)
        if self.low is not None:
            fall = np.clip(x / (0.38 * n) + 1.15, 0, 1)
            profile *= self.low + (1 - self.low) * fall * fall * (3 - 2 * fall)
        return profile.astype(np.float32)


def make_illumination(settings: SimSettings) -> SimulatedIllumination:
    """Draw the light and the fixed pattern of a scintillator."""
    rng = np.random.default_rng([settings.seed, 7])
    shape = np.array(settings.shape)
    angle = rng.uniform(0, 2 * np.pi)
    energies = settings.scan_energies
    return SimulatedIllumination(
        pattern=_leather(rng, settings.shape, settings.structure),
        centre=(shape - 1) / 2 + rng.uniform(-0.06, 0.1, 2) * shape,
        travel=settings.illumination_shift_px * np.array([np.sin(angle), np.cos(angle)]),
        span=(min(energies), max(energies)),
        low=settings.illumination_low,
    )


def _leather(rng: np.random.Generator, shape: tuple[int, int], rms: float) -> NDArray[np.float32]:
    """Dark creases along the zero crossings of a smooth random field, as scintillators show."""
    if rms == 0:
        return np.ones(shape, np.float32)
    noise = np.fft.rfft2(rng.standard_normal(shape, dtype=np.float32))
    k2 = np.fft.fftfreq(shape[0])[:, None] ** 2 + np.fft.rfftfreq(shape[1])[None, :] ** 2
    field = np.fft.irfft2(noise * np.exp(-0.5 * (2 * np.pi) ** 2 * k2 * 3.5**2), s=shape)
    crease = np.exp(-((field / (0.35 * field.std())) ** 2))
    return (1 - rms / crease.std() * (crease - crease.min())).astype(np.float32).clip(0.2, None)
