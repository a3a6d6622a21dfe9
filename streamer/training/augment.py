"""Effects of real microscopes that the simulated one lacks; pure functions on optical density."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d, uniform_filter

from ...models.arrays import Image

_BOX = 2.45  # width of a box of which two passes have the variance of a Gaussian, in its sigma


def halo(od: Image, strength: float, width: float) -> Image:
    """Bright ring around particles and shade-off inside them, as in Zernike phase contrast.

    The phase ring is not a point: the lowest frequencies of the sample go through it too and are
    lost, so that the image lacks a share of its own blur.

    Parameters
    ----------
    od : (H, W) of the particles.
    strength : share that is taken off, 0..1. width : of the blur, px.
    """
    return (od - np.float32(strength) * _wide_blur(od, width)).astype(np.float32, copy=False)


def crack(od: Image, rng: np.random.Generator, depth: float) -> Image:
    """One or two thin curved lines through a particle; its contour stays.

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
    """A dense spot in a particle, up to a quarter of its size; its contour stays."""
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
    """Bright and dark rims on opposite sides, as if the image were lit from one side.

    Parameters
    ----------
    od : (H, W). reach : px by which the slope of the OD shifts it.
    """
    angle = rng.uniform(0, 2 * np.pi)
    dy, dx = np.gradient(od)
    return od + np.float32(reach * np.sin(angle)) * dy + np.float32(reach * np.cos(angle)) * dx


def debris(shape: tuple[int, int], rng: np.random.Generator, amount: float) -> Image:
    """Crumbs of a few pixels, too small to be particles."""
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
    """Smooth blobs without a rim, thick or thin, that must not be taken for particles."""
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
    """Gaussian noise with a grain of some pixels, in one direction more than in the other."""
    sigma = rng.uniform(0.6, 2.0, 2)
    noise = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma, truncate=3)
    return (noise * np.float32(rms / max(float(noise.std()), 1e-9))).astype(np.float32, copy=False)


def stripes(shape: tuple[int, int], rng: np.random.Generator, rms: float) -> Image:
    """Offsets of rows or of columns, as of a read-out or of a beam that flickers in a line."""
    axis = int(rng.integers(2))
    line = gaussian_filter1d(rng.standard_normal(shape[axis]), rng.uniform(0.1, 4.0))
    line = (line * (rms / max(float(line.std()), 1e-9))).astype(np.float32)
    return np.ascontiguousarray(np.broadcast_to(line[:, None] if axis == 0 else line, shape))


def rings(shape: tuple[int, int], rng: np.random.Generator, rms: float) -> Image:
    """Rings around a centre in or near the frame, as of a zone plate's other orders."""
    centre = rng.uniform(-0.3, 1.3, 2) * shape
    y, x = np.ogrid[: shape[0], : shape[1]]
    radius = np.hypot(y - centre[0], x - centre[1])
    line = gaussian_filter1d(rng.standard_normal(int(radius.max()) + 2), rng.uniform(1.0, 5.0))
    line = (line * (rms / max(float(line.std()), 1e-9))).astype(np.float32)
    return line[radius.astype(np.int32)]


def gradient(shape: tuple[int, int], rng: np.random.Generator, amount: float) -> Image:
    """Illumination that the flat does not take off: a curved slope of zero mean."""
    y = np.linspace(-0.5, 0.5, shape[0], dtype=np.float32)[:, None]
    x = np.linspace(-0.5, 0.5, shape[1], dtype=np.float32)[None, :]
    slope = rng.normal(0, 1, 5).astype(np.float32)
    field = slope[0] * y + slope[1] * x + slope[2] * y * y + slope[3] * x * x + slope[4] * x * y
    field -= field.mean()
    return field * np.float32(amount / max(float(np.ptp(field)), 1e-9))


def zingers(od: Image, rng: np.random.Generator, share: float) -> Image:
    """Single pixels with wild values: X-rays that hit the chip, pixels that died since the flat."""
    hit = rng.integers(od.size, size=max(1, round(share * od.size)))
    out = od.copy()
    out.ravel()[hit] += rng.choice([-1.0, 1.0], hit.size) * rng.uniform(0.5, 3.0, hit.size)
    return out


def dark_sides(shape: tuple[int, int], rng: np.random.Generator, depth: float) -> NDArray[np.bool_]:
    """Which pixels are lit when one side of the frame is not, (H, W) bool.

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
