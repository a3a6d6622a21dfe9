"""Differential maps of one particle: its last aligned picture minus its first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ....models.arrays import Array
from ...evaluate.similarity import sides_of, windows
from .runner import ORACLE, PaperResult

UNALIGNED = "unaligned"
_AVERAGE = 5  # one frame below the edge is mostly noise


@dataclass(frozen=True, slots=True, kw_only=True)
class Maps:
    """By method, also without any alignment; (S, S) OD, all NaN where the particle was lost.

    Attributes
    ----------
    plain : last frame minus first, as the paper shows it.
    matched : mean of the last frames minus `gain` times that of the first ones, less an offset:
        both pictures have the contrast of the last, so that only misalignment and chemistry stay.
    gain : of the pictures that are aligned by the truth. average : frames in each mean.
    """

    plain: Mapping[str, Array]
    matched: Mapping[str, Array]
    gain: float
    average: int


def differential_maps(result: PaperResult) -> Maps:
    """Make the maps of the particle that is shown."""
    series, particle = result.series, result.particle
    truth = series.truth
    still = np.broadcast_to(truth.yx[0], truth.yx.shape)
    found = {name: one.paths for name, one in result.measured.items()}
    paths = {name: path[:, [particle]] for name, path in {UNALIGNED: still, **found}.items()}
    average = max(1, min(_AVERAGE, truth.n_frames // 2))
    side = sides_of(truth.radius[[particle]])
    rois = {name: _rois(series.od, path, side, average) for name, path in paths.items()}
    means = {name: [_mean(part) for part in both] for name, both in rois.items()}
    gain, offset = contrast(*means[ORACLE])
    return Maps(
        plain={name: last[-1] - first[0] for name, (first, last) in rois.items()},
        matched={name: last - gain * first - offset for name, (first, last) in means.items()},
        gain=gain,
        average=average,
    )


def contrast(first: Array, last: Array) -> tuple[float, float]:
    """Gain and offset, by least squares, that take the first picture to the last."""
    known = np.isfinite(first) & np.isfinite(last)
    if not known.any():
        return 1.0, 0.0
    a, b = first[known], last[known]
    centred = a - a.mean()
    gain = float(centred @ b / max(centred @ centred, 1e-12))
    return gain, float(b.mean() - gain * a.mean())


def _rois(
    od: NDArray[np.float32], path: Array, side: NDArray[np.int64], n: int
) -> tuple[Array, Array]:
    """The first and the last n pictures (n, S, S) along a path (F, 1, 2)."""
    ends = [(od[part], path[part]) for part in (slice(None, n), slice(-n, None))]
    first, last = (
        np.stack([one[0, 0].numpy() for one in windows(*end, side)]).astype(np.float64)
        for end in ends
    )
    return first, last


def _mean(stack: Array) -> Array:
    """Mean over the pictures that have a pixel; NaN where none has."""
    known = np.isfinite(stack)
    count = known.sum(axis=0)
    return np.where(known, stack, 0).sum(axis=0) / np.where(count > 0, count, np.nan)
