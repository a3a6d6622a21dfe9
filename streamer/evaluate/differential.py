"""Differential maps: what is left of a particle when its first picture is taken from its last.

Where the two do not lie upon each other the difference shows the rim of the particle, which is
easily taken for chemistry. Also the true positions leave something there: particles turn, stretch
and react between the two.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes, distance_transform_edt

from ...models.arrays import Array, Mask
from ..register.fuse import crop_rois
from ..simulate.simulator import Simulator
from .similarity import sides_of, windows

_BAND_PX = 4.0
_ENOUGH_PX = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferentialMaps:
    """Medians over n particles (NaN if there are none).

    Attributes
    ----------
    residual : rms of the map on the rim over that inside.
    oracle : the same with the true positions of the same frames.
    """

    n: int
    residual: float
    oracle: float

    def summary(self) -> dict[str, float]:
        """Plain numbers, for JSON."""
        return asdict(self)


def compare_maps(
    od: NDArray[np.float32], yx: Array, simulator: Simulator, *, average: int = 5
) -> DifferentialMaps:
    """Differential maps with an estimator's and with the true positions.

    Parameters
    ----------
    od : (F, H, W) optical density of the series, NaN where invalid.
    yx : (F, P, 2) positions of the true particles, px, NaN where one was not measured.
    simulator : of the series.
    average : see :func:`rim_residuals`.
    """
    there = np.isfinite(yx).all(axis=-1) & simulator.truth.whole
    ours, oracle = (
        rim_residuals(od, np.where(there[..., None], places, np.nan), simulator, average=average)
        for places in (yx, simulator.truth.yx)
    )
    both = np.isfinite(ours) & np.isfinite(oracle)
    return DifferentialMaps(
        n=int(both.sum()),
        residual=float(np.median(ours[both])) if both.any() else float("nan"),
        oracle=float(np.median(oracle[both])) if both.any() else float("nan"),
    )


def rim_residuals(
    od: NDArray[np.float32], yx: Array, simulator: Simulator, *, average: int = 5
) -> Array:
    """Rms of each particle's differential map on the rim over that inside.

    The map is the last aligned picture minus the first one with a gain and an offset fitted to
    it. The rim lies within 4 px of the half-maximum contour of the noise-free particle in its
    last frame, inside is deeper than that. A constant offset of the positions does not matter.

    Parameters
    ----------
    od : (F, H, W) optical density of the series, NaN where invalid.
    yx : (F, P, 2) px, NaN where a particle was not measured.
    simulator : of the series.
    average : how many first and last measured frames make up the two pictures; one below the
        edge is mostly noise.

    Returns
    -------
    (P,) float64; NaN for particles measured in fewer than twice `average` frames.
    """
    truth = simulator.truth
    first, last = _ends(np.isfinite(yx[..., 0] + yx[..., 1]), average)
    count = np.maximum(last.sum(axis=0), 1)[:, None]
    offset = np.where(last[..., None], yx - truth.yx, 0).sum(axis=0) / count
    sides = sides_of(truth.radius)
    pictures = [_mean_windows(od, yx - offset, chosen, sides) for chosen in (first, last)]
    depth = _depths(simulator, last, int(sides.max(initial=1)))
    return np.array([_residual(*one) for one in zip(*pictures, depth, strict=True)])


def _ends(there: Mask, average: int) -> tuple[Mask, Mask]:
    """Mark the first and the last frames (F, P) of each particle that has enough of them."""
    rank = np.cumsum(there, axis=0)
    enough = there & (rank[-1] >= 2 * average)
    return enough & (rank <= average), enough & (rank > rank[-1] - average)


def _mean_windows(
    od: NDArray[np.float32], yx: Array, chosen: Mask, sides: NDArray[np.int64]
) -> Array:
    """Mean aligned picture (P, S, S) over the chosen frames, NaN where a frame has none."""
    frames = np.flatnonzero(chosen.any(axis=1))
    side = int(sides.max(initial=1))
    total = np.zeros((len(sides), side, side))
    places = np.where(chosen[..., None], yx, np.nan)[frames]
    for rois, used in zip(windows(od[frames], places, sides), chosen[frames], strict=True):
        total[used] += rois[:, 0].numpy()[used]
    return total / np.where(chosen.any(axis=0), chosen.sum(axis=0), np.nan)[:, None, None]


def _depths(simulator: Simulator, last: Mask, side: int) -> Array:
    """Depth of each pixel (P, S, S) under the half-maximum contour, px, negative outside."""
    truth = simulator.truth
    depth = np.full((truth.n_particles, side, side), np.nan)
    newest = np.where(last.any(axis=0), len(last) - 1 - last[::-1].argmax(axis=0), -1)
    for frame in np.unique(newest[newest >= 0]):
        for patch in simulator.patches(int(frame), (0.0, 0.0)):
            if newest[patch.particle] != frame:
                continue
            image = torch.zeros(1, 1, *map(int, truth.shape))
            image[0, 0][patch.box] = torch.from_numpy(patch.moved[0] - patch.without)
            at = truth.yx[frame, patch.particle][None]
            own = np.nan_to_num(crop_rois(image, at, side)[0, 0].numpy())
            mask = np.asarray(binary_fill_holes(own > own.max() / 2), dtype=bool)
            depth[patch.particle] = _distance(mask) - _distance(~mask)
    return depth


def _distance(mask: Mask) -> Array:
    """Distance of the pixels of a mask from its contour, px, 0 elsewhere."""
    away = np.asarray(distance_transform_edt(mask), dtype=np.float64)
    return np.where(mask, away - 0.5, 0.0)


def _residual(first: Array, last: Array, depth: Array) -> float:
    known = np.isfinite(first) & np.isfinite(last)
    rim, inside = known & (np.abs(depth) <= _BAND_PX), known & (depth > _BAND_PX)
    if min(rim.sum(), inside.sum()) < _ENOUGH_PX:
        return float("nan")
    fitted = rim | inside
    design = np.stack([first[fitted], np.ones(int(fitted.sum()))], axis=1)
    gain, offset = np.linalg.lstsq(design, last[fitted], rcond=None)[0]
    squares = (last - gain * first - offset) ** 2
    return float(np.sqrt(squares[rim].mean() / squares[inside].mean()))
