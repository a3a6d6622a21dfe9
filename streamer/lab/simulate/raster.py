"""Draw bodies at sub-pixel positions, and blur as the optics do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ....models.arrays import Array, Image
from .shapes import Body, Points

Box = tuple[slice, slice]
_OVERSAMPLE_UP_TO = 50.0  # px of radius, by eye: edges of larger bodies are smooth enough


def box_of(body: Body, yx: Array, linear: Array, shape: tuple[int, int]) -> Box | None:
    """Bound the pixels that a body at `yx` under a (2, 2) map covers; None if outside the frame."""
    reach = body.reach * float(np.linalg.norm(linear, ord=2)) + 1.5
    low = np.maximum(np.floor(yx - reach).astype(int), 0)
    high = np.minimum(np.ceil(yx + reach).astype(int) + 1, shape)
    if np.any(high <= low):
        return None
    return slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1]))


def body_points(yx: Array, linear: Array, box: Box, oversample: int = 1) -> Points:
    """Return the body coordinates of the (sub-)pixels of a box, complex64."""
    inverse = np.linalg.inv(linear)
    y, x = (
        span.start - 0.5 + (np.arange((span.stop - span.start) * oversample) + 0.5) / oversample - c
        for span, c in zip(box, yx, strict=True)
    )
    z = np.empty((len(y), len(x)), np.complex64)
    z.imag = (inverse[0, 0] * y)[:, None] + (inverse[0, 1] * x)[None, :]
    z.real = (inverse[1, 0] * y)[:, None] + (inverse[1, 1] * x)[None, :]
    return z


def draw(
    body: Body, yx: Array, linear: Array, box: Box, chemistry: tuple[float, float, float]
) -> NDArray[np.float32]:
    """Draw the optical density of a body in a box, without blur.

    Parameters
    ----------
    body : what to draw.
    yx : (2,) where its centre of mass lies, px.
    linear : (2, 2) map from body to frame.
    box : pixels to draw.
    chemistry : position of the oxidation front (radii), absorption of the reduced and of the
        oxidised state.
    """
    front, reduced, oxidised = chemistry
    points = body_points(yx, linear, box)
    if body.radius <= _OVERSAMPLE_UP_TO:
        fine = body.profile(body_points(yx, linear, box, 2))
        profile = 0.25 * (fine[::2, ::2] + fine[1::2, ::2] + fine[::2, 1::2] + fine[1::2, 1::2])
    else:
        profile = body.profile(points)
    mu = np.float32(reduced) + np.float32(oxidised - reduced) * body.fraction(points, front)
    od = np.float32(body.od) * profile * body.roughness(points) * mu
    return od.astype(np.float32, copy=False)


def blur(sharp: NDArray[np.float32], boxes: Iterable[Box], sigma: float) -> None:
    """Blur the intensity, not the density, around the given boxes, in place.

    Parameters
    ----------
    sharp : (H, W) optical density, 0 outside the boxes.
    boxes : where it is not 0.
    sigma : standard deviation of the PSF, px.
    """
    if sigma <= 0:
        return
    pad = int(np.ceil(4 * sigma)) + 1
    shape = sharp.shape
    done = []
    for box in boxes:
        inner, outer = grow(box, pad, shape), grow(box, 2 * pad, shape)
        soft = gaussian_filter(np.exp(-sharp[outer]), sigma, truncate=4, mode="nearest")
        done.append((inner, -np.log(soft[_within(inner, outer)])))
    for inner, value in done:
        sharp[inner] = value


def grow(box: Box, by: int, shape: tuple[int, ...]) -> Box:
    """Add pixels on each side of a box, as far as the frame goes."""
    rows, columns = (
        slice(max(span.start - by, 0), min(span.stop + by, n))
        for span, n in zip(box, shape, strict=True)
    )
    return rows, columns


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedParticle:
    """A particle at its place in one frame.

    Attributes
    ----------
    body : its shape.
    yx : (2,) its centre of mass, px.
    linear : (2, 2) map from body to frame.
    chemistry : front (radii), absorption of the reduced and of the oxidised state.
    """

    body: Body
    yx: Array
    linear: Array
    chemistry: tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """One particle and its surroundings, without noise.

    Attributes
    ----------
    particle : its index in the truth.
    box : the pixels of the frame.
    moved : (M, h, w) float32, optical density with the particle moved by each of M moves.
    without : (h, w) float32, optical density without the particle.
    """

    particle: int
    box: Box
    moved: Image
    without: Image


def draw_patch(
    scene: Mapping[int, PlacedParticle],
    particle: int,
    moves: Array,
    background: Image,
    **optics: float,
) -> Patch | None:
    """Draw a particle at several places among its neighbours, which stay.

    Parameters
    ----------
    scene : all particles of the frame.
    particle : which of them moves.
    moves : (M, 2) how far, (y, x) px.
    background : (H, W) optical density of everything else.
    **optics : `margin` around the particle, px, and `psf`, standard deviation of the blur, px.

    Returns
    -------
    Patch, or None if the particle lies outside the frame.
    """
    placed, shape = scene[particle], background.shape
    height, width = shape
    box = box_of(placed.body, placed.yx, placed.linear, (height, width))
    if box is None:
        return None
    inner = grow(box, int(np.ceil(optics["margin"])), shape)
    # the blur of a pixel of the patch needs those around it
    outer = grow(inner, int(np.ceil(4 * optics["psf"])) + 1, shape)
    sharp = np.zeros((len(moves) + 1, *(span.stop - span.start for span in outer)), np.float32)
    for i, other in scene.items():
        if i != particle:
            _add(sharp, other, np.zeros((len(sharp), 2)), outer, (height, width))
    _add(sharp[1:], placed, moves, outer, (height, width))
    psf = (0.0, optics["psf"], optics["psf"])
    soft = -np.log(gaussian_filter(np.exp(-sharp), psf, truncate=4, mode="nearest"))
    soft = soft[:, *_within(inner, outer)] + background[inner]
    return Patch(particle=particle, box=inner, moved=soft[1:], without=soft[0])


def _add(
    stack: Image, placed: PlacedParticle, moves: Array, outer: Box, shape: tuple[int, int]
) -> None:
    """Add a body, moved by each of the moves, to a stack of images of the pixels `outer`."""
    box = box_of(placed.body, placed.yx, placed.linear, shape)
    common = None if box is None else _overlap(box, outer)
    if common is None:
        return
    window = _within(common, outer)
    if not moves.any():
        stack[:, *window] += draw(placed.body, placed.yx, placed.linear, common, placed.chemistry)
        return
    for image, move in zip(stack, moves, strict=True):
        yx = placed.yx + move
        image[window] += draw(placed.body, yx, placed.linear, common, placed.chemistry)


def _overlap(a: Box, b: Box) -> Box | None:
    rows, columns = (
        slice(max(s.start, t.start), min(s.stop, t.stop)) for s, t in zip(a, b, strict=True)
    )
    return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None


def _within(inner: Box, outer: Box) -> Box:
    rows, columns = (
        slice(i.start - o.start, i.stop - o.start) for i, o in zip(inner, outer, strict=True)
    )
    return rows, columns
