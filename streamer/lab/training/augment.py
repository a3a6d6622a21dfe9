"""Effects of real microscopes that the simulated one lacks; pure functions on optical density."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d, uniform_filter

from ....models.arrays import Image
from ...core.correct import Correction, CorrectSettings, apply, prepare_flat
from ...core.frames import FrameKey
from ..simulate import SimSettings
from ..simulate.light import make_background, make_illumination

_BOX = 2.45  # width of a box of which two passes have the variance of a Gaussian, in its sigma
_KEY = FrameKey(run="training", stream="primary", data_key="image", seq_num=1)
_GAUSSIAN_FROM = 60.0
_SATURATED = 65535.0


def halo(od: Image, strength: float, width: float) -> Image:
    """Add a bright ring around particles and shade-off inside them, as in Zernike phase contrast.

    The phase ring is not a point: the lowest frequencies of the sample go through it too and are
    lost, so that the image lacks a share of its own blur.

    Parameters
    ----------
    od : (H, W) of the particles.
    strength : share that is taken off, 0..1. width : of the blur, px.
    """
    return (od - np.float32(strength) * _wide_blur(od, width)).astype(np.float32, copy=False)


def crack(od: Image, rng: np.random.Generator, depth: float) -> Image:
    """Draw one or two thin curved lines through a particle; its contour stays.

    Parameters
    ----------
    od : (h, w) of a single particle. depth : relative change in the middle of the line; negative
        for bright material in the crack.
    """
    y, x = np.indices(od.shape, dtype=np.float32)
    middle = (np.array(od.shape) - 1) / 2
    for _ in range(int(rng.integers(1, 3))):
        angle, bend = rng.uniform(0, np.pi), rng.normal(0, 0.4) / max(od.shape)
        centre = middle + rng.uniform(-0.2, 0.2, 2) * od.shape
        across = np.sin(angle) * (y - centre[0]) + np.cos(angle) * (x - centre[1])
        along = np.cos(angle) * (y - centre[0]) - np.sin(angle) * (x - centre[1])
        distance = across + np.float32(bend) * along * along
        width = rng.uniform(0.5, 1.0 + 0.03 * max(od.shape))
        od = od * (1 - np.float32(depth) * np.exp(-((distance / np.float32(width)) ** 2)))
    return od


def inclusion(od: Image, rng: np.random.Generator, amount: float) -> Image:
    """Add a dense spot in a particle, up to a quarter of its size; its contour stays."""
    y, x = np.ogrid[: od.shape[0], : od.shape[1]]
    centre = (np.array(od.shape) - 1) / 2 + rng.uniform(-0.25, 0.25, 2) * od.shape
    sigma = rng.uniform(0.03, 0.12) * max(od.shape)
    spot = np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / (2 * sigma**2))
    return od * (1 + np.float32(amount) * spot.astype(np.float32))


def plateau(od: Image, amount: float) -> Image:
    """Flatten a particle towards a disc with a steep rim; its highest OD stays.

    Parameters
    ----------
    od : (h, w) of a single particle. amount : 0..1, 1 less the exponent of the relative OD.
    """
    top = max(float(od.max()), 1e-9)
    return np.float32(top) * (od / np.float32(top)) ** np.float32(1 - amount)


def relief(od: Image, rng: np.random.Generator, reach: float) -> Image:
    """Add bright and dark rims on opposite sides, as if lit from one side.

    Parameters
    ----------
    od : (H, W). reach : px by which the slope of the OD shifts it.
    """
    angle = rng.uniform(0, 2 * np.pi)
    dy, dx = np.gradient(od)
    return od + np.float32(reach * np.sin(angle)) * dy + np.float32(reach * np.cos(angle)) * dx


def debris(shape: tuple[int, int], rng: np.random.Generator, amount: float) -> Image:
    """Draw crumbs of a few pixels, too small to be particles."""
    total = np.zeros(shape, np.float32)
    for _ in range(int(rng.integers(1, 16))):
        y0, x0 = (int(rng.integers(n)) for n in shape)
        box = slice(max(0, y0 - 8), y0 + 9), slice(max(0, x0 - 8), x0 + 9)
        y, x = (
            np.arange(b.start, min(b.stop, n)) - c
            for b, n, c in zip(box, shape, (y0, x0), strict=True)
        )
        (long, short), angle = rng.uniform(0.7, 2.2, 2), rng.uniform(0, np.pi)
        u = np.cos(angle) * y[:, None] + np.sin(angle) * x[None, :]
        v = np.cos(angle) * x[None, :] - np.sin(angle) * y[:, None]
        crumb = np.exp(-0.5 * ((u / long) ** 2 + (v / short) ** 2))
        total[box] += (amount * rng.uniform(0.2, 1.0) * crumb).astype(np.float32)
    return total


def clouds(shape: tuple[int, int], rng: np.random.Generator, amount: float) -> Image:
    """Draw smooth blobs without a rim, thick or thin, that must not be taken for particles."""
    total = np.zeros(shape, np.float32)
    for _ in range(int(rng.integers(1, 6))):
        (ky, kx), angle = rng.uniform(0.04, 0.16, 2) * max(shape), rng.uniform(0, np.pi)
        y = np.arange(shape[0], dtype=np.float32)[:, None] - np.float32(rng.uniform(0, shape[0]))
        x = np.arange(shape[1], dtype=np.float32)[None, :] - np.float32(rng.uniform(0, shape[1]))
        u, v = np.cos(angle) * y + np.sin(angle) * x, np.cos(angle) * x - np.sin(angle) * y
        sign = rng.choice([1.0, 1.0, -0.5]) * rng.uniform(0.3, 1.0) * amount
        total += np.float32(sign) * np.exp(-0.5 * ((u / ky) ** 2 + (v / kx) ** 2)).astype("f4")
    return total


def correlated_noise(shape: tuple[int, int], rng: np.random.Generator, rms: float) -> Image:
    """Draw Gaussian noise with a grain of some pixels, more in one direction."""
    sigma = rng.uniform(0.6, 2.0, 2)
    noise = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma, truncate=3)
    return (noise * np.float32(rms / max(float(noise.std()), 1e-9))).astype(np.float32, copy=False)


def stripes(shape: tuple[int, int], rng: np.random.Generator, rms: float) -> Image:
    """Draw offsets of rows or columns, as of a read-out or a beam that flickers in a line."""
    axis = int(rng.integers(2))
    line = gaussian_filter1d(rng.standard_normal(shape[axis]), rng.uniform(0.1, 4.0))
    line = (line * (rms / max(float(line.std()), 1e-9))).astype(np.float32)
    return np.ascontiguousarray(np.broadcast_to(line[:, None] if axis == 0 else line, shape))


def rings(shape: tuple[int, int], rng: np.random.Generator, rms: float) -> Image:
    """Draw rings around a centre in or near the frame, as of a zone plate's other orders."""
    centre = rng.uniform(-0.3, 1.3, 2) * shape
    y, x = np.ogrid[: shape[0], : shape[1]]
    radius = np.hypot(y - centre[0], x - centre[1])
    line = gaussian_filter1d(rng.standard_normal(int(radius.max()) + 2), rng.uniform(1.0, 5.0))
    line = (line * (rms / max(float(line.std()), 1e-9))).astype(np.float32)
    return line[radius.astype(np.int32)]


def gradient(shape: tuple[int, int], rng: np.random.Generator, amount: float) -> Image:
    """Draw illumination that the flat does not take off: a curved slope of zero mean."""
    y = np.linspace(-0.5, 0.5, shape[0], dtype=np.float32)[:, None]
    x = np.linspace(-0.5, 0.5, shape[1], dtype=np.float32)[None, :]
    slope = rng.normal(0, 1, 5).astype(np.float32)
    field = slope[0] * y + slope[1] * x + slope[2] * y * y + slope[3] * x * x + slope[4] * x * y
    field -= field.mean()
    return field * np.float32(amount / max(float(np.ptp(field)), 1e-9))


def zingers(od: Image, rng: np.random.Generator, share: float) -> Image:
    """Set single pixels to wild values: X-rays that hit the chip, pixels that died."""
    hit = rng.integers(od.size, size=max(1, round(share * od.size)))
    out = od.copy()
    out.ravel()[hit] += rng.choice([-1.0, 1.0], hit.size) * rng.uniform(0.5, 3.0, hit.size)
    return out


def dark_sides(shape: tuple[int, int], rng: np.random.Generator, depth: float) -> NDArray[np.bool_]:
    """Choose the pixels that are lit when one side of the frame is not, (H, W) bool.

    Parameters
    ----------
    depth : of the unlit part, share of the frame.
    """
    y = np.linspace(0, 1, shape[0])[:, None]
    x = np.linspace(0, 1, shape[1])[None, :]
    angle = rng.uniform(0, 2 * np.pi)
    position = np.cos(angle) * (y - 0.5) + np.sin(angle) * (x - 0.5)
    wave = 0.02 * np.sin(rng.uniform(5, 40) * (y - x) + rng.uniform(0, 6))
    return position + wave < position.max() - depth * np.ptp(position)


def _wide_blur(image: Image, sigma: float) -> Image:
    size = max(1, round(_BOX * sigma))
    once = uniform_filter(image, size, mode="nearest")
    return np.asarray(uniform_filter(once, size, mode="nearest"), np.float32)


# Counts and back: a frame seen by the simulated detector and corrected as in the live path.


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentedFrame:
    """Corrected frame with its truth.

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

    def image(
        self, rng: np.random.Generator, frame: int, sample: Image, flats: int
    ) -> AugmentedFrame:
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
        return AugmentedFrame(
            od=corrected.od, valid=corrected.valid, noise=noise, background=background
        )

    def _mean(self, rng: np.random.Generator, light: Image, n: int) -> Image:
        """Draw the mean (H, W) of n exposures, counts."""
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
        """Compute the variance of the logarithm of the mean of n exposures."""
        few = np.maximum(light, np.float32(1))
        read = np.float32(self._settings.read_noise**2)
        return ((few + read) / (few * few * n)).astype(np.float32, copy=False)
