"""Motion of single particles by the correlation of their edges: a ruler beside the processor.

Slow and without a notion of particles, but independent of masks, templates and identities: the
magnitude of the gradient hardly knows how dense a particle is. Each particle is cut out where it
was in the first frame and correlated with the same window elsewhere (matrix DFT, Guizar-Sicairos
et al. 2008, doi:10.1364/OL.33.000156), moved along until it fits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_gradient_magnitude, map_coordinates
from skimage.registration import phase_cross_correlation

from ....models.arrays import Array

_SMOOTH_PX = 3.0
_MARGIN_PX = 10
_REACH = 1.35
_ROUNDS = 3
_UPSAMPLING = 50


def follow_edges(
    images: NDArray[np.float32],
    start: Array,
    radius: Array,
    expected: Array,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Array:
    """Follow particles from the first frame.

    Parameters
    ----------
    images : (F, H, W) float32, optical density, NaN where invalid.
    start : (P, 2) float64, places in the first frame, px; NaN where there is none.
    radius : (P,) float64, radii, px.
    expected : (F, 2) float64, common motion since the first frame, px, good to the radius.
    progress : called with what is done, and how many of how many steps.

    Returns
    -------
    (F, P, 2) float64, px, NaN without a start.
    """
    edges = [
        np.asarray(gaussian_gradient_magnitude(np.nan_to_num(image), _SMOOTH_PX), dtype=np.float32)
        for image in images
    ]
    places = np.full((len(images), *start.shape), np.nan)
    started = np.flatnonzero(np.isfinite(start[:, 0]))
    for number, particle in enumerate(started, 1):
        half = int(_REACH * radius[particle]) + _MARGIN_PX
        first = _window(edges[0], start[particle], half)
        for frame, image in enumerate(edges):
            shift = expected[frame].copy()
            for _ in range(_ROUNDS):
                moved = _window(image, start[particle] + shift, half)
                shift -= _correlate(first, moved)
            places[frame, particle] = start[particle] + shift
        progress("edges of particles", number, len(started))
    return places


def _correlate(first: Array, moved: Array) -> Array:
    plain: Any = None  # cross-correlation: phases of noise count for nothing
    found = phase_cross_correlation(first, moved, upsample_factor=_UPSAMPLING, normalization=plain)
    return np.asarray(found[0], dtype=np.float64)


def _window(image: NDArray[np.float32], centre: Array, half: int) -> Array:
    """Square about a place, without its mean, tapered, so that no rim correlates."""
    span = np.arange(-half, half + 1, dtype=np.float64)
    grid = np.stack(np.meshgrid(span, span, indexing="ij")) + centre[:, None, None]
    cut = map_coordinates(image, grid, order=3, mode="nearest")
    taper = np.sqrt(np.hanning(len(span)))
    return (cut - cut.mean()) * np.outer(taper, taper)
