"""Particles in frames in which nobody saw them: before their first detection, and in between.

A particle that is faint below the edge is detected late; once its template is known, it is found
in the frames before. Where to look follows from the motion of the others; what is found there must
have the contrast that theirs has in that frame.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ....models.arrays import Array
from ..register.fit import FitRequest, TemplateFit, refine
from ..register.steady import common_path
from ..register.templates import Template
from .records import FrameRecord

Fits = dict[int, dict[int, TemplateFit]]

Load = Callable[[int], tuple[Tensor, NDArray[np.int32]] | None]

_REACH_PX = 2.0

_REACH_PER_FRAME_PX = 0.1

_REACH_MOST_PX = 6.0

_LIKE = 1.8

_LEAST_OTHERS = 2

_LEAST_SEEN = 5

_LEAST_SHARE = 0.2  # of the frames; what was seen in fewer may be no particle


@dataclass(frozen=True, slots=True)
class _Scan:
    """Fits as arrays, NaN where there is none.

    Attributes
    ----------
    yx : (F, P, 2) px. gain : (F, P). path : (F, 2) px, of all. detected : (P,) frames.
    """

    particles: list[int]
    yx: Array
    gain: Array
    path: Array
    detected: NDArray[np.int64]


def fill_gaps(
    records: Sequence[FrameRecord], fits: Fits, best: Mapping[int, Template], load: Load
) -> Fits:
    """Look for each particle in the frames that have no fit of it.

    Parameters
    ----------
    records : of the frames of a scan, in their order.
    fits : by frame and particle. best : template of each particle.
    load : gives image and masks of a frame.

    Returns
    -------
    The fits, with those that were found.
    """
    scan = _arrays(records, fits, best)
    out: Fits = {}
    for row, item in enumerate(records):
        frame = item.result.frame
        known = fits.get(frame, {})
        out[frame] = dict(known)
        # a frame that says nothing of how bright particles are in it
        if len(known) < _LEAST_OTHERS:
            continue
        requests = _requests(scan, row, best)
        loaded = load(frame) if requests else None
        if loaded is None:
            continue
        found = refine(loaded[0], loaded[1], requests)
        out[frame].update({p: f for p, f in found.items() if _plausible(scan, row, p, f)})
    return out


def _arrays(records: Sequence[FrameRecord], fits: Fits, best: Mapping[int, Template]) -> _Scan:
    particles = sorted(best)
    yx = np.full((len(records), len(particles), 2), np.nan)
    gain = np.full(yx.shape[:2], np.nan)
    for row, item in enumerate(records):
        for column, particle in enumerate(particles):
            fit = fits.get(item.result.frame, {}).get(particle)
            if fit is not None:
                yx[row, column], gain[row, column] = fit.yx, fit.gain
    detected = [
        sum(p in item.found and item.found[p].row >= 0 for item in records) for p in particles
    ]
    return _Scan(particles, yx, gain, common_path(yx), np.array(detected, dtype=np.int64))


def _nearest(scan: _Scan, row: int, column: int) -> int:
    """The frame nearest to this one that has a fit of a particle, -1 if too few have."""
    if scan.detected[column] < max(_LEAST_SEEN, _LEAST_SHARE * len(scan.gain)):
        return -1
    seen = np.flatnonzero(np.isfinite(scan.gain[:, column]))
    if not len(seen):
        return -1
    return int(seen[np.argmin(np.abs(seen - row))])


def _requests(scan: _Scan, row: int, best: Mapping[int, Template]) -> list[FitRequest]:
    requests = []
    for column, particle in enumerate(scan.particles):
        near = -1 if np.isfinite(scan.gain[row, column]) else _nearest(scan, row, column)
        if near < 0:
            continue
        reach = _REACH_PX + _REACH_PER_FRAME_PX * abs(row - near)
        requests.append(
            FitRequest(
                particle=particle,
                anchor=best[particle],
                start=scan.yx[near, column] + scan.path[row] - scan.path[near],
                reach=min(reach, _REACH_MOST_PX),
                label=0,
            )
        )
    return requests


def _plausible(scan: _Scan, row: int, particle: int, found: TemplateFit) -> bool:
    """Whether its contrast has changed as that of the others has since it was seen."""
    column = scan.particles.index(particle)
    near = _nearest(scan, row, column)
    others = scan.gain[row] / scan.gain[near]
    others = others[np.isfinite(others)]
    if len(others) < _LEAST_OTHERS:
        return False
    ratio = found.gain / (scan.gain[near, column] * float(np.median(others)))
    return 1 / _LIKE < ratio < _LIKE
