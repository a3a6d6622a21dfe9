"""Background of the electrode, light on the detector, and the camera that counts it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from ....models.arrays import Array, Image
from .settings import SimSettings
from .spectra import NI_K_EDGE

# By eye, after images of cathodes and scintillators.
_BANDS = ((40.0, 0.75), (6.0, 0.5), (1.4, 0.45))  # of the background: blur, px, and weight
_BASE = 3.0  # mean of the background over the rms of its structure
_FINE_UP_TO = 1000  # px of a side: larger frames have one texel per px of the background
_WIDTH = 0.62  # of the beam, in sides of the frame
_PER_SIDE = 4.0  # random values of the haze along each side of the frame
_BUMP = 0.7  # width of each, in distances between them
_MOST = 2.0  # standard deviations of the brightness
_GAUSSIAN_FROM = 60.0  # counts: a Gaussian is no substitute for a Poisson distribution of fewer


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedBackground:
    """Structured absorption of carbon, binder and electrolyte; moves with the electrode."""

    field: Image | None
    scale: float
    shape: tuple[int, int]

    def od(self, linear: Array, shift: Array, energy: float) -> Image:
        """Return the optical density of the background in one frame.

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
        field = np.float32(settings.background) * (_BASE + _texture(rng, shape, scale))
    return SimulatedBackground(field=field, scale=float(scale), shape=settings.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedIllumination:
    """Intensity without a sample, 1 at its brightest; the pattern stays with the detector."""

    pattern: Image
    centre: Array
    travel: Array
    span: tuple[float, float]
    low: float | None

    def at(self, energy: float, lag: Array | tuple[float, float] = (0.0, 0.0)) -> Image:
        """Return the light on the detector: the beam moves and dims with the energy.

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

    def _profile(self, axis: int, centre: float) -> Image:
        n = self.pattern.shape[axis]
        x = np.arange(n) - centre
        profile = np.exp(-0.5 * (x / (_WIDTH * n)) ** 2)
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


def _leather(rng: np.random.Generator, shape: tuple[int, int], rms: float) -> Image:
    """Draw dark creases along the zero crossings of a smooth random field, as of scintillators."""
    if rms == 0:
        return np.ones(shape, np.float32)
    noise = np.fft.rfft2(rng.standard_normal(shape, dtype=np.float32))
    k2 = np.fft.fftfreq(shape[0])[:, None] ** 2 + np.fft.rfftfreq(shape[1])[None, :] ** 2
    field = np.fft.irfft2(noise * np.exp(-0.5 * (2 * np.pi) ** 2 * k2 * 3.5**2), s=shape)
    crease = np.exp(-((field / (0.35 * field.std())) ** 2))
    return (1 - rms / crease.std() * (crease - crease.min())).astype(np.float32).clip(0.2, None)


def _texture(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> Image:
    """Draw periodic random structure: smooth clouds, binder lumps and fine carbon grain.

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

    def expose(self, light: Image, n: int, address: tuple[int, int]) -> NDArray[np.uint16]:
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
                weak = rng.poisson(level.ravel()[few]).astype(np.float32)
                weak += s.read_noise * rng.standard_normal(few.size, dtype=np.float32)
                noisy.ravel()[few] = weak
            noisy += self._offset
            np.rint(noisy, out=noisy)
            images[i] = np.clip(noisy, 0, 65535, out=noisy)
        return images


def haze(settings: SimSettings, frame: int) -> Image | None:
    """Draw the smooth random background of one frame, (H, W) float32, OD; None if there is none.

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
    """Draw the light at the energy of a frame over that without `counts_spread`."""
    rng = np.random.default_rng([settings.seed, 14, frame])
    deviation = np.clip(rng.standard_normal(), -_MOST, _MOST)
    return np.float32(np.exp(settings.counts_spread * deviation))


def _bumps(size: int) -> Array:
    """Return weights (N, size) of N bumps along one side; their squares add up to 1 everywhere."""
    places = np.arange(-1.5, _PER_SIDE + 2)
    at = np.arange(size) * _PER_SIDE / size
    weights = np.exp(-0.5 * ((at - places[:, None]) / _BUMP) ** 2)
    return weights / np.sqrt((weights**2).sum(axis=0))
