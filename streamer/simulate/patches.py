"""Small noise-free images of single particles that are moved off their places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from ...models.arrays import Array, Image
from .raster import Box, box_of, draw, grow
from .shapes import Body


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A particle where it lies in one frame.

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
    scene: Mapping[int, Placed], particle: int, moves: Array, background: Image, **optics: float
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


def _add(stack: Image, placed: Placed, moves: Array, outer: Box, shape: tuple[int, int]) -> None:
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
