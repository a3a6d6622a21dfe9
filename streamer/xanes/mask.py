"""Which pixels of its ROI belong to a particle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_cdt, gaussian_filter
from skimage.measure import label as connected

from ...models.arrays import Array, Mask

_LEVEL = 0.2
_REACH = 1.35
_ROI_EXTENT = 1.4
_GROW_PX = 1
_GAP_PX = 3
_RING_PX = 8
_FEWEST_AROUND = 64


def particle_mask(mean: Array, area: float) -> Mask:
    """Pixels around the centre that are darker than what surrounds the particle.

    The mask is one for all energies, and somewhat larger than the particle: surroundings add a
    smooth background to a spectrum, while rims that are left out would take the material near the
    surface, which reacts first, out of it.

    Parameters
    ----------
    mean : (S, S) mean optical density of the aligned ROIs, NaN where unknown.
    area : of the particle, px^2 of `mean`; NaN if unknown.

    Returns
    -------
    (S, S) bool; empty if there is no contrast at the centre.
    """
    side = len(mean)
    radius = float(np.sqrt(area / np.pi)) if area > 0 else side / (2 * _ROI_EXTENT)
    known = np.isfinite(mean)
    axis = np.arange(side) - (side - 1) / 2
    distance = np.hypot(axis[:, None], axis[None])
    centre, around = known & (distance <= 0.6 * radius), known & (distance > 1.2 * radius)
    if not known.any():  # no energy so far is one that the fit uses
        return distance <= radius
    if not centre.any():
        return np.zeros(mean.shape, np.bool_)
    if not around.any():
        return known & (distance <= radius)
    smooth = gaussian_filter(np.where(known, mean, np.median(mean[around])), 1.0)
    inside, outside = np.median(smooth[centre]), np.median(smooth[around])
    near = known & (distance <= _REACH * radius)
    dark = near & (smooth > outside + _LEVEL * (inside - outside))
    parts = np.asarray(connected(dark, connectivity=1))
    votes = np.bincount(parts[centre & dark], minlength=2)
    if inside <= outside or not votes[1:].any():
        return np.zeros(mean.shape, np.bool_)
    return near & (_steps(parts == 1 + np.argmax(votes[1:])) <= _GROW_PX)


def surroundings(mask: Mask, known: Mask) -> Mask:
    """Pixels (S, S) around a particle that are not of it, empty if the ROI hardly shows any.

    What they have in common with the particle (the brightness of a frame, an illumination that is
    not quite that of its flat) is taken off its spectrum.
    """
    away = _steps(mask)
    ring = (away > _GAP_PX) & (away <= _GAP_PX + _RING_PX) & known
    return ring if np.count_nonzero(ring) >= _FEWEST_AROUND else np.zeros(mask.shape, np.bool_)


def _steps(mask: Mask) -> NDArray[np.int32]:
    """Steps (S, S) along the axes from each pixel to the nearest of the mask; -1 if it is empty."""
    return np.asarray(distance_transform_cdt(~mask, metric="taxicab"), np.int32)
