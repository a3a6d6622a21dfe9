"""How alike the aligned ROIs of a particle are, from frame to frame and end to end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from ....models.ssim import ssim
from .cutouts import Floats, cut_out, half_sides
from .scene import Scene

_RIM_PX = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """What is left after alignment.

    Attributes
    ----------
    pairs : (F - 1, P) SSIM of the ROI in a frame and in the one before, NaN where one is missing.
    residual : (P,) rms of the last minus the first ROI on the rim of the particle, over that in
        its interior: what a differential map shows of misalignment.
    """

    pairs: Floats
    residual: Floats


def align(scene: Scene, paths: Floats, data_range: float) -> Alignment:
    """Cut ROIs along the given paths and compare them.

    Parameters
    ----------
    scene : what is seen. paths : (F, P, 2) px, NaN where there is none.
    data_range : of SSIM, OD.
    """
    truth = scene.truth
    rois = cut_out(scene.od, paths, truth.radius)
    pairs = np.full((len(rois) - 1, truth.n_particles), np.nan)
    residual = np.full(truth.n_particles, np.nan)
    middle = rois.shape[-1] // 2
    for particle, half in enumerate(half_sides(truth.radius)):
        window = slice(middle - half, middle + half + 1)
        own = rois[:, particle, window, window]
        pairs[:, particle] = _similar(own, data_range)
        frames = np.flatnonzero(np.isfinite(paths[:, particle, 0]))
        if len(frames) > 1:
            first, last = frames[[0, -1]]
            residual[particle] = _residual(own[last] - own[first], scene, (int(last), particle))
    return Alignment(pairs=pairs, residual=residual)


def _similar(rois: NDArray[np.float32], data_range: float) -> Floats:
    stack = torch.from_numpy(np.ascontiguousarray(rois))[:, None]
    return ssim(stack[1:], stack[:-1], data_range).numpy().astype(np.float64)


def _residual(difference: NDArray[np.float32], scene: Scene, instance: tuple[int, int]) -> float:
    """Rms on the rim over rms inside, of one differential map."""
    depth = _depth(scene, instance, len(difference))
    known = np.isfinite(difference)
    rim, inside = known & (np.abs(depth) <= _RIM_PX), known & (depth > _RIM_PX)
    if not rim.any() or not inside.any():
        return float("nan")
    on, within = (float(np.mean(difference[part] ** 2.0)) for part in (rim, inside))
    return float(np.sqrt(on / within)) if within > 0 else float("nan")


def _depth(scene: Scene, instance: tuple[int, int], side: int) -> Floats:
    """Distance from the contour of a true particle, px, positive inside, in its ROI."""
    frame, particle = instance
    mask = np.pad(scene.simulator.mask(frame, particle), side)
    y, x = np.round(scene.truth.yx[frame, particle]).astype(int) + side - side // 2
    window = mask[y : y + side, x : x + side]
    inside, outside = (np.asarray(distance_transform_edt(part)) for part in (window, ~window))
    return inside - outside
