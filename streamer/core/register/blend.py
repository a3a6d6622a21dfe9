"""Two ways to a place, and what their disagreement tells of the background under a particle.

The fit of a rim and the centre of mass of a mask are both pulled by what lies under and around the
particle, in proportion to the inverse of its contrast, but by different parts of it: over an
absorption edge their difference changes by the difference of two independent errors. Deformation
and drift are in both and cancel. The weighted mean of both is better than either, and the size of
the disagreement says how good it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....models.arrays import Array

_LEAST_FRAMES = 8

_LEAST_SPREAD = 0.5

_FAINT = 1.0

_TUNING = 2.0

_MOST = 0.5

_OUTLYING = 3.0

_ALIKE = 0.2  # correlation of both errors, over simulated scans

# a template holds part of what lies under its particle: errors of fits, over simulated scans, are
# this part of what the same fit answers to a background that it does not know
_PART = 0.55

# the background slides under a particle that moves on its own: its pull changes at any contrast
_SLIDING = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanTrack:
    """One particle over F frames of a scan; NaN where it was not found.

    Attributes
    ----------
    fitted : (F, 2) float64, px, against one template; noise : (F, 2) px, its error from noise.
    mask : (F, 2) float64, px.
    faintness : (F,) 1 / contrast - 1, the contrast relative to that of the template.
    tilt : (F,) by how much the contrast varies over a radius, relative to itself.
    response : (2,) px, expected pull of the background on `fitted` at faintness 1; NaN if unknown.
    """

    fitted: Array
    noise: Array
    mask: Array
    faintness: Array
    tilt: Array
    response: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Blended:
    """Combined places.

    Attributes
    ----------
    yx : (F, 2) float64, px. sigma : (F, 2) float64, px, what the background may still have done.
    centre : (2,) float64, px, from the place that the template marks to the centre of mass.
    """

    yx: Array
    sigma: Array
    centre: Array


def blend(tracks: list[ScanTrack]) -> list[Blended]:
    """Combine fits and masks of all particles of a scan.

    How much masks count is learned from all particles together: their disagreement with the fits
    is the sum of both errors, and that of the fits is known from their response.
    """
    slopes = [_slope(track) for track in tracks]
    disagreement = _disagreement(tracks, slopes)
    return [_combine(t, s, disagreement) for t, s in zip(tracks, slopes, strict=True)]


@dataclass(frozen=True, slots=True)
class _Slope:
    """difference = offset + per_faintness * faintness; None where it cannot be told."""

    offset: Array
    per_faintness: Array


def _slope(track: ScanTrack) -> _Slope | None:
    difference = track.mask - track.fitted
    known = np.isfinite(difference).all(axis=1) & np.isfinite(track.faintness)
    x, d = track.faintness[known], difference[known]
    if len(x) < _LEAST_FRAMES or np.ptp(np.percentile(x, [10, 90])) < _LEAST_SPREAD:
        return None
    design = np.column_stack([np.ones(len(x)), x])
    weight = np.ones(len(x))
    solution = np.zeros((2, 2))
    for _ in range(10):
        root = np.sqrt(weight)[:, None]
        solution = np.linalg.lstsq(design * root, d * root, rcond=None)[0]
        distance = np.hypot(*(d - design @ solution).T)
        scale = max(1.4826 * float(np.median(distance)), 1e-3)
        # chemistry moves masks, not rims, over the edge: those frames must not decide
        weight = np.minimum(1.0, _TUNING * scale / np.maximum(distance, 1e-9))
    return _Slope(solution[0], solution[1])


def _disagreement(tracks: list[ScanTrack], slopes: list[_Slope | None]) -> float:
    """Variance of mask less fit, in units of what is expected of the fits; NaN if unknown."""
    ratios = [
        _square(s.per_faintness) / _square(_PART * t.response)
        for t, s in zip(tracks, slopes, strict=True)
        if s is not None and np.isfinite(t.response).all() and (t.response > 0).all()
    ]
    # the median of a sum of two squares of normal variables is 0.69 of its mean
    return float(np.median(ratios)) / 0.69 if ratios else float("nan")


def _square(vector: Array) -> float:
    return float((vector**2).sum())


def _share(track: ScanTrack, slope: _Slope, disagreement: float) -> float:
    """Weight of the masks: from the errors of all, less where a mask is far worse than others."""
    expected = disagreement * _square(_PART * np.nan_to_num(track.response))
    apart = np.sqrt(_square(slope.per_faintness) / max(expected, 1e-12))
    return min(_MOST, 1.0 / max(disagreement, 1.0)) * min(1.0, (_OUTLYING / 2 / apart) ** 2)


def _combine(track: ScanTrack, slope: _Slope | None, disagreement: float) -> Blended:
    faint = np.nan_to_num(track.faintness)
    pull = _PART * np.nan_to_num(track.response) * np.hypot(faint, _SLIDING)[:, None]
    if slope is None or not np.isfinite(disagreement):
        return Blended(yx=track.fitted, sigma=pull, centre=_centre(track))
    share = _share(track, slope, disagreement)
    smooth = slope.per_faintness * faint[:, None]
    own = track.mask - track.fitted - slope.offset - smooth
    # where the particle is faint, masks are as good as fits from frame to frame, too
    use = (faint > _FAINT) & np.isfinite(own).all(axis=1)
    limit = _OUTLYING * 1.4826 * np.median(np.abs(own[use]), axis=0) if use.any() else np.zeros(2)
    own = np.clip(np.where(use[:, None], own, 0.0), -limit, limit)
    # errors of masks are to those of fits as 1 - share to share, and not wholly independent
    return Blended(
        yx=track.fitted + share * (smooth + own),
        sigma=pull * np.sqrt(1 - share * (1 - _ALIKE)),
        centre=slope.offset,
    )


def _centre(track: ScanTrack) -> Array:
    difference = track.mask - track.fitted
    known = np.isfinite(difference).all(axis=1)
    return np.median(difference[known], axis=0) if known.any() else np.zeros(2)
