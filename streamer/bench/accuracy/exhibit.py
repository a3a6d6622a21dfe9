"""What the picture shows of one regime: curves over the scan and maps of one particle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ....models.arrays import Array
from ...evaluate.similarity import sides_of, windows
from .measure import Measured
from .positions import rms_by_frame
from .reference import Reference
from .scene import Scene

Spans = tuple[NDArray[np.int64], NDArray[np.int64]]
UNALIGNED = "unaligned"
ORACLE = "oracle"
_AVERAGE = 5  # one frame below the edge is mostly noise


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibit:
    """Curves and maps by estimator; also of the ``oracle``, and without any alignment.

    Attributes
    ----------
    energies : (F,) eV. particle : the true particle that is shown.
    spans : the first and the last five frames in which it lies wholly inside.
    errors : (F,) rms over all particles, px. ssim : (F - 1,) of the particle's ROI with the
        one of the next frame. difference : (S, S) its mean ROI in the last frames minus that in the
        first ones brought to the same contrast by `gain` and an offset, OD.
    """

    energies: Array
    particle: int
    spans: Spans
    gain: float
    errors: Mapping[str, Array]
    ssim: Mapping[str, NDArray[np.float32]]
    difference: Mapping[str, Array]


def exhibit(scene: Scene, measured: Mapping[str, Measured], best: Reference) -> Exhibit:
    """Collect what the picture shows of the estimates, beside the oracle."""
    truth = scene.truth
    particle = _typical(truth.whole, truth.radius)
    frames = np.flatnonzero(truth.whole[:, particle])
    if not frames.size:
        frames = np.arange(truth.n_frames)
    n = min(_AVERAGE, (len(frames) + 1) // 2)
    spans = frames[:n], frames[-n:]
    still = np.broadcast_to(truth.yx[frames[0]], truth.yx.shape)
    ways = {UNALIGNED: still, **{name: found.paths for name, found in measured.items()}}
    ways[ORACLE] = truth.yx
    ends = {name: _ends(scene, path, particle, spans) for name, path in ways.items()}
    gain, offset = _contrast(*ends[ORACLE])
    similar = {name: found.pairs for name, found in measured.items()} | {ORACLE: best.oracle}
    return Exhibit(
        energies=truth.energies,
        particle=particle,
        spans=spans,
        gain=gain,
        errors={name: rms_by_frame(found.errors) for name, found in measured.items()},
        ssim={name: one[:, particle] for name, one in similar.items()},
        difference={name: last - gain * first - offset for name, (first, last) in ends.items()},
    )


def _typical(whole: NDArray[np.bool_], radius: Array) -> int:
    """Choose the particle of median size among those that are there most of the time."""
    often = np.flatnonzero(whole.sum(axis=0) == whole.sum(axis=0).max())
    return int(often[np.argsort(radius[often])[len(often) // 2]])


def _ends(scene: Scene, paths: Array, particle: int, spans: Spans) -> Array:
    """Mean ROIs (2, S, S) of the particle over the first and the last frames, OD."""
    side = sides_of(scene.truth.radius[[particle]])
    means = []
    for frames in spans:
        cut = windows(scene.od[frames], paths[frames][:, [particle]], side)
        stack = np.stack([one[0, 0].numpy() for one in cut]).astype(np.float64)
        count = np.isfinite(stack).sum(axis=0)
        means.append(np.nansum(stack, axis=0) / np.where(count > 0, count, np.nan))
    return np.stack(means)


def _contrast(first: Array, last: Array) -> tuple[float, float]:
    """Gain and offset that take the first ROI to the last."""
    known = np.isfinite(first) & np.isfinite(last)
    if not known.any():
        return 1.0, 0.0
    a, b = first[known], last[known]
    centred = a - a.mean()
    gain = float(centred @ b / max(centred @ centred, 1e-12))
    return gain, float(b.mean() - gain * a.mean())
