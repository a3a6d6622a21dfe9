"""What the picture shows of one regime: curves over the scan and maps of one particle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...evaluate.similarity import sides_of, windows
from .measure import Measured
from .positions import rms_by_frame
from .reference import Reference
from .scene import Scene

Floats = NDArray[np.float64]
UNALIGNED = "unaligned"
ORACLE = "oracle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibit:
    """Curves and maps by estimator; also of the ``oracle``, and without any alignment.

    Attributes
    ----------
    energies : (F,) eV. particle : the true particle that is shown.
    pair : first and last frame in which it lies wholly inside.
    errors : (F,) rms over all particles, px. ssim : (F - 1,) of the particle's ROI with the
        one of the next frame. difference : (S, S) its ROI in the last frame minus the first one
        scaled by `gain` to the same contrast, OD.
    """

    energies: Floats
    particle: int
    pair: tuple[int, int]
    gain: float
    errors: Mapping[str, Floats]
    ssim: Mapping[str, NDArray[np.float32]]
    difference: Mapping[str, Floats]


def exhibit(scene: Scene, measured: Mapping[str, Measured], best: Reference) -> Exhibit:
    """Collect what the picture shows of the estimates, beside the oracle."""
    truth = scene.truth
    particle = _typical(truth.whole, truth.radius)
    frames = np.flatnonzero(truth.whole[:, particle])
    pair = (int(frames[0]), int(frames[-1])) if frames.size else (0, truth.n_frames - 1)
    still = np.broadcast_to(truth.yx[pair[0]], truth.yx.shape)
    ways = {UNALIGNED: still, **{name: found.paths for name, found in measured.items()}}
    ways[ORACLE] = truth.yx
    ends = {name: _ends(scene, path, particle, pair) for name, path in ways.items()}
    gain = _gain(*ends[ORACLE])
    similar = {name: found.pairs for name, found in measured.items()} | {ORACLE: best.oracle}
    return Exhibit(
        energies=truth.energies,
        particle=particle,
        pair=pair,
        gain=gain,
        errors={name: rms_by_frame(found.errors) for name, found in measured.items()},
        ssim={name: one[:, particle] for name, one in similar.items()},
        difference={name: last - gain * first for name, (first, last) in ends.items()},
    )


def _typical(whole: NDArray[np.bool_], radius: Floats) -> int:
    """Choose the particle of median size among those that are there most of the time."""
    often = np.flatnonzero(whole.sum(axis=0) == whole.sum(axis=0).max())
    return int(often[np.argsort(radius[often])[len(often) // 2]])


def _ends(scene: Scene, paths: Floats, particle: int, pair: tuple[int, int]) -> Floats:
    """ROIs (2, S, S) of the particle in two frames, OD."""
    rows = list(pair)
    side = sides_of(scene.truth.radius[[particle]])
    cut = windows(scene.od[rows], paths[rows][:, [particle]], side)
    return np.stack([one[0, 0].numpy() for one in cut]).astype(np.float64)


def _gain(first: Floats, last: Floats) -> float:
    """Contrast of the last ROI over that of the first."""
    known = np.isfinite(first) & np.isfinite(last)
    if not known.any():
        return 1.0
    a, b = first[known] - first[known].mean(), last[known] - last[known].mean()
    return float(a @ b / max(a @ a, 1e-12))
