"""How alike aligned images of a particle are, for any estimator's positions and for the true ones.

Everything is measured on windows that are cut around given positions by one interpolation, so that
estimators, peers and the oracle (the true positions) are compared on the same footing. Contrast
changes with the energy: even the oracle does not reach a similarity of 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...models.arrays import Array
from ...models.ssim import ssim
from ..register.fuse import crop_rois

_SIDE_RADII = 2.8
"""Side of a window in radii of the particle: the silhouette and 0.4 radii around it."""
_SMALLEST_SIDE = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Similarity:
    """SSIM of n adjacent aligned pairs (NaN if there are none).

    Attributes
    ----------
    mean, variance : over the pairs.
    oracle_mean, oracle_variance : of the same pairs aligned with the true positions.
    """

    n: int
    mean: float
    variance: float
    oracle_mean: float
    oracle_variance: float

    def summary(self) -> dict[str, float]:
        """Plain numbers, for JSON."""
        return asdict(self)


def sides_of(radius: Array) -> NDArray[np.int64]:
    """Side (P,) of the window of each particle, px, an odd number."""
    half = np.ceil(np.maximum(_SIDE_RADII * radius, _SMALLEST_SIDE) / 2)
    return (2 * half + 1).astype(np.int64)


def windows(od: NDArray[np.float32], yx: Array, sides: NDArray[np.int64]) -> Iterator[Tensor]:
    """Cut each frame around the positions.

    Parameters
    ----------
    od : (F, H, W) optical density, NaN where invalid.
    yx : (F, P, 2) px, NaN where a particle was not measured.
    sides : (P,) odd, px.

    Yields
    ------
    For each frame (P, 1, S, S) float32, S the largest side, NaN outside of a particle's own
    window, outside the frame, and all NaN where it was not measured.
    """
    largest = int(sides.max(initial=1))
    reach = np.abs(np.arange(largest) - largest // 2)
    own = torch.from_numpy(
        np.maximum(reach[:, None], reach[None])[None, None] <= (sides // 2)[:, None, None, None]
    )
    for frame, places in enumerate(yx):
        image = torch.from_numpy(od[frame].astype(np.float32))[None, None]
        # a place outside of everything gives a window of NaN
        rois = crop_rois(image, np.nan_to_num(places, nan=-1e4), largest)
        yield torch.where(own, rois, torch.nan)


def adjacent_ssim(
    od: NDArray[np.float32], yx: Array, radius: Array, data_range: float = 1.0
) -> NDArray[np.float32]:
    """SSIM of each particle's windows in frames f and f + 1.

    Standard constants (:func:`operando.models.ssim.ssim`); windows of 2.8 radii.

    Parameters
    ----------
    od : (F, H, W) optical density, NaN where invalid.
    yx : (F, P, 2) px, NaN where a particle was not measured.
    radius : (P,) px.
    data_range : fixed range of the data, OD.

    Returns
    -------
    (F - 1, P) float32; NaN where one of the two was not measured.
    """
    values = np.full((max(len(yx) - 1, 0), yx.shape[1]), np.nan, np.float32)
    before: Tensor | None = None
    for frame, rois in enumerate(windows(od, yx, sides_of(radius))):
        if before is not None and rois.shape[0]:
            values[frame - 1] = ssim(before, rois, data_range).numpy()
        before = rois
    return values


def compare_ssim(values: NDArray[np.float32], oracle: NDArray[np.float32]) -> Similarity:
    """Put the SSIM of an estimator beside that of the oracle, on the pairs that both have.

    Parameters
    ----------
    values, oracle : of :func:`adjacent_ssim`, (F - 1, P) or columns of it.
    """
    both = np.isfinite(values) & np.isfinite(oracle)
    ours, best = values[both].astype(np.float64), oracle[both].astype(np.float64)
    nan = float("nan")
    if not ours.size:
        return Similarity(n=0, mean=nan, variance=nan, oracle_mean=nan, oracle_variance=nan)
    return Similarity(
        n=ours.size,
        mean=float(ours.mean()),
        variance=float(ours.var()),
        oracle_mean=float(best.mean()),
        oracle_variance=float(best.var()),
    )
