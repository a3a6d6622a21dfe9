"""Drawing of bodies at sub-pixel positions, and the blur of the optics."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ...models.arrays import Array
from .shapes import Body, Points

Box = tuple[slice, slice]
_OVERSAMPLE_UP_TO = 50.0


def box_of(body: Body, yx: Array, linear: Array, shape: tuple[int, int]) -> Box | None:
    """Pixels that a body at `yx` under a (2, 2) map may cover; None if outside the frame."""
    reach = body.reach * float(np.linalg.norm(linear, ord=2)) + 1.5
    low = np.maximum(np.floor(yx - reach).astype(int), 0)
    high = np.minimum(np.ceil(yx + reach).astype(int) + 1, shape)
    if np.any(high <= low):
        return None
    return slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1]))


def body_points(yx: Array, linear: Array, box: Box, oversample: int = 1) -> Points:
    """Body coordinates of the (sub-)pixels of a box, complex64."""
    inverse = np.linalg.inv(linear)
    y, x = (_centres(span, oversample) - centre for span, centre in zip(box, yx, strict=True))
    z = np.empty((len(y), len(x)), np.complex64)
    z.imag = (inverse[0, 0] * y)[:, None] + (inverse[0, 1] * x)[None, :]
    z.real = (inverse[1, 0] * y)[:, None] + (inverse[1, 1] * x)[None, :]
    return z


def _centres(span: slice, oversample: int) -> Array:
    n = (span.stop - span.start) * oversample
    return span.start - 0.5 + (np.arange(n) + 0.5) / oversample


def draw(
    body: Body, yx: Array, linear: Array, box: Box, chemistry: tuple[float, float, float]
) -> NDArray[np.float32]:
    """Optical density of a body in a box, without blur.

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
        crop = tuple(
            slice(i.start - o.start, i.stop - o.start) for i, o in zip(inner, outer, strict=True)
        )
        done.append((inner, -np.log(soft[crop])))
    for inner, value in done:
        sharp[inner] = value


def grow(box: Box, by: int, shape: tuple[int, ...]) -> Box:
    """Add pixels on each side of a box, as far as the frame goes."""
    rows, columns = (
        slice(max(span.start - by, 0), min(span.stop + by, n))
        for span, n in zip(box, shape, strict=True)
    )
    return rows, columns
