"""Aligned ROIs of the true particles, cut at the positions of any estimator.

All estimators are compared on ROIs cut by the same resampling from the same frames: what differs
is the position alone.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ...register.fuse import crop_rois

Floats = NDArray[np.float64]
Rois = NDArray[np.float32]

_REACH = 1.3
_LEAST_HALF = 8


def half_sides(radius: Floats) -> NDArray[np.int64]:
    """Half sides (P,) px of the ROIs of particles: 1.3 radii, 8 px at least."""
    return np.maximum(np.ceil(_REACH * radius), _LEAST_HALF).astype(np.int64)


def cut_out(od: Rois, paths: Floats, radius: Floats) -> Rois:
    """Cut the ROI of each particle from each frame.

    Parameters
    ----------
    od : (F, H, W) float32, NaN where invalid. paths : (F, P, 2) px, NaN where there is none.
    radius : (P,) px.

    Returns
    -------
    (F, P, S, S) float32 with S for the largest particle; NaN outside of the square of
    :func:`half_sides`, outside the frame, and where there is no position.
    """
    half = half_sides(radius)
    middle = int(half.max(initial=_LEAST_HALF))
    side = 2 * middle + 1
    rois = np.full((len(od), len(radius), side, side), np.nan, np.float32)
    for frame, (image, places) in enumerate(zip(od, paths, strict=True)):
        there = np.flatnonzero(np.isfinite(places).all(axis=1))
        if there.size:
            cut = crop_rois(torch.from_numpy(image)[None, None], places[there], side)
            rois[frame, there] = cut[:, 0].numpy()
    away = np.abs(np.arange(side) - middle)
    outside = np.maximum(away[:, None], away[None, :]) > half[:, None, None]
    rois[:, outside] = np.nan
    return rois
