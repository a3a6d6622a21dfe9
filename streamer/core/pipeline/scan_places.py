"""Places of particles over a whole scan, for the second pass.

*Gaps.* A particle that is faint below the edge is detected late; once its template is known, it is
found in the frames before. Where it is sought follows from the motion of the others; what is found
there must have the contrast that theirs has in that frame.

*Two ways to a place.* The fit of a rim and the centre of mass of a mask are both pulled by what
lies under and around the particle, in proportion to the inverse of its contrast, but by different
parts of it: over an absorption edge their difference changes by the difference of two independent
errors. Deformation and drift are in both and cancel. The weighted mean of both is better than
either, and the size of the disagreement says how good it is.

*Own motion is slow, jitter is common.* Stage and optics move all particles alike from frame to
frame; what particles do on their own, a deforming electrode, takes many frames. The part of a place
that is neither common nor slow is error. How slow own motion is, is learned from the scan itself:
the width of the smoothing of each particle is the one that predicts left-out frames best, and may
be none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ....models.arrays import Array, Labels
from ....models.rim import RimStacks
from ..register.places import FitRequest, TemplateFit, refine
from ..register.templates import Template
from .branch import FrameRecord

Fits = dict[int, dict[int, TemplateFit]]
Load = Callable[[int], tuple[Tensor, Labels] | None]

# by eye, but for those that say so

_REACH_PX = 2.0  # how far from where it is sought a particle may be
_REACH_PER_FRAME_PX = 0.1  # and what is added for each frame since it was seen
_REACH_MOST_PX = 6.0  # at most
_LIKE = 1.8  # by how much its contrast may differ from that of the others
_LEAST_OTHERS = 2  # particles that tell how bright a frame is
_LEAST_SEEN = 5  # frames in which a particle was detected
_LEAST_SHARE = 0.2  # of the frames; what was seen in fewer may be no particle
_LEAST_FRAMES = 8  # with both places, to tell their difference
_LEAST_SPREAD = 0.5  # of the faintness over them, else there is nothing to tell it from
_FAINT = 1.0  # faintness from which masks are as good as fits from frame to frame: half contrast
_TUNING = 2.0  # of Huber's weights, in standard deviations
_MOST = 0.5  # weight of masks
_OUTLYING = 3.0  # standard deviations
_ALIKE = 0.2  # correlation of both errors, over simulated scans
# a template holds part of what lies under its particle: errors of fits, over simulated scans, are
# this part of what the same fit answers to a background that it does not know
_PART = 0.55
# the background slides under a particle that moves on its own: its pull changes at any contrast
_SLIDING = 0.2
_WIDTHS = (1.0, 2.0, 4.0, 8.0)  # frames, of the smoothing
_ROUNDS = 4  # of smoothing and common motion in turn
_LEAST_PARTICLES = 4  # that tell what is common
_LEAST_SMOOTHED = 12  # frames
_REACH_WIDTHS = 3.0  # of a kernel, in widths
_ROBUST = 3.0  # standard deviations beyond which a step, or a short fast move, is no error
_CLIP = 9.0  # of squared left-out errors, in their median
_BETTER = 0.97  # left-out error of a wider smoothing over that of a narrower one
_PLAIN = 2.2  # left-out error in units of the noise, above which own motion is not slow


@dataclass(frozen=True, slots=True)
class _ScanFits:
    """Fits as arrays, NaN where there is none.

    Attributes
    ----------
    yx : (F, P, 2) px. gain : (F, P). path : (F, 2) px, of all. detected : (P,) frames.
    """

    particles: list[int]
    yx: Array
    gain: Array
    path: Array
    detected: list[int]


def fill_gaps(
    records: Sequence[FrameRecord],
    fits: Fits,
    best: Mapping[int, Template],
    load: Load,
    stacks: RimStacks,
) -> Fits:
    """Search for each particle in the frames that have no fit of it.

    Parameters
    ----------
    records : of the frames of a scan, in their order.
    fits : by frame and particle. best : template of each particle.
    load : gives image and masks of a frame. stacks : keeps the tensors of rims.

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
        found = refine(*loaded, requests, stacks)
        out[frame].update({p: f for p, f in found.items() if _plausible(scan, row, p, f)})
    return out


def _arrays(records: Sequence[FrameRecord], fits: Fits, best: Mapping[int, Template]) -> _ScanFits:
    particles = sorted(best)
    yx = np.full((len(records), len(particles), 2), np.nan)
    gain = np.full(yx.shape[:2], np.nan)
    for row, item in enumerate(records):
        for column, particle in enumerate(particles):
            fit = fits.get(item.result.frame, {}).get(particle)
            if fit is not None:
                yx[row, column], gain[row, column] = fit.yx, fit.gain
    measured = [m for item in records for m in item.measurement.measured if m.row >= 0]
    detected = [sum(m.particle == p for m in measured) for p in particles]
    return _ScanFits(particles, yx, gain, common_path(yx), detected)


def _nearest(scan: _ScanFits, row: int, column: int) -> int:
    """Find the nearest frame that has a fit of a particle, -1 if too few have."""
    if scan.detected[column] < max(_LEAST_SEEN, _LEAST_SHARE * len(scan.gain)):
        return -1
    seen = np.flatnonzero(np.isfinite(scan.gain[:, column]))
    return int(seen[np.argmin(np.abs(seen - row))]) if len(seen) else -1


def _requests(scan: _ScanFits, row: int, best: Mapping[int, Template]) -> list[FitRequest]:
    requests = []
    for column, particle in enumerate(scan.particles):
        near = -1 if np.isfinite(scan.gain[row, column]) else _nearest(scan, row, column)
        if near < 0:
            continue
        reach = _REACH_PX + _REACH_PER_FRAME_PX * abs(row - near)
        requests.append(
            FitRequest(
                particle=particle,
                template=best[particle],
                start=scan.yx[near, column] + scan.path[row] - scan.path[near],
                reach=min(reach, _REACH_MOST_PX),
                label=0,
            )
        )
    return requests


def _plausible(scan: _ScanFits, row: int, particle: int, found: TemplateFit) -> bool:
    """Tell whether its contrast has changed as that of the others has since it was seen."""
    column = scan.particles.index(particle)
    near = _nearest(scan, row, column)
    others = scan.gain[row] / scan.gain[near]
    others = others[np.isfinite(others)]
    if len(others) < _LEAST_OTHERS:
        return False
    ratio = found.gain / (scan.gain[near, column] * float(np.median(others)))
    return 1 / _LIKE < ratio < _LIKE


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanTrack:
    """One particle over F frames of a scan; NaN where it was not found.

    Attributes
    ----------
    fitted : (F, 2) float64, px, against one template; noise : (F, 2) px, its error from noise.
    mask : (F, 2) float64, px.
    faintness : (F,) 1 / contrast - 1, the contrast relative to that of the template.
    gain_gradient : (F,) by how much the contrast varies over a radius, relative to itself.
    response : (2,) px, expected pull of the background on `fitted` at faintness 1; NaN if unknown.
    """

    fitted: Array
    noise: Array
    mask: Array
    faintness: Array
    gain_gradient: Array
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
    """difference = offset + per_faintness * faintness; None where it is unknown."""

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
    """Estimate the variance of mask less fit, in that expected of the fits; NaN if unknown."""
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
    """Weigh the masks: from the errors of all, less where a mask is far worse than others."""
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


def steady(yx: Array, sigma: Array) -> tuple[Array, Array]:
    """Take out of places what is neither common to all particles nor slow.

    Parameters
    ----------
    yx : (F, P, 2) float64, px, NaN where a particle was not found.
    sigma : (F, P, 2) float64, px, of the noise.

    Returns
    -------
    The places, and the noise that is left in them, px; as they were given if there are too few
    particles or frames to tell.
    """
    frames, particles = yx.shape[:2]
    if particles < _LEAST_PARTICLES or frames < _LEAST_SMOOTHED:
        return yx, sigma
    known = np.asarray(np.isfinite(yx).all(axis=2), dtype=bool)
    weight = np.where(known, 1.0 / np.maximum(np.nan_to_num(sigma, nan=1.0), 1e-3).mean(2) ** 2, 0)
    common = common_path(yx)
    smooth, spread = yx.copy(), sigma.copy()
    share = np.zeros(frames)
    for _ in range(_ROUNDS):
        own = yx - common[:, None]
        for p in range(particles):
            smooth[:, p], factor = _smooth(own[:, p], weight[:, p])
            spread[:, p] = sigma[:, p] * factor[:, None]
        rest = np.where(known[..., None], own - smooth, 0.0)
        size = np.hypot(rest[..., 0], rest[..., 1])
        limit = _ROBUST / np.sqrt(np.maximum(weight, 1e-12))
        robust = weight * np.minimum(1.0, limit / np.maximum(size, 1e-9))
        share = np.maximum(robust.sum(axis=1), 1e-12)
        common = common + (robust[..., None] * rest).sum(axis=1) / share[:, None]
    settled = known & (known.sum(axis=1) >= _LEAST_PARTICLES)[:, None]
    out = np.where(settled[..., None], smooth + common[:, None], yx)
    left = np.sqrt(spread**2 + (1.0 / share)[:, None, None])
    return out, np.where(settled[..., None], np.minimum(left, sigma), sigma)


def common_path(yx: Array) -> Array:
    """Add up the motion from frame to frame that most particles share, (F, 2) px."""
    step = np.diff(yx, axis=0)
    seen = np.isfinite(step).any(axis=(1, 2))
    middle = np.zeros((len(step), 2))
    middle[seen] = np.nanmedian(step[seen], axis=1)
    return np.concatenate([np.zeros((1, 2)), np.cumsum(middle, axis=0)])


def _smooth(own: Array, weight: Array) -> tuple[Array, Array]:
    """Fit local lines of the width that predicts left-out frames best.

    Returns
    -------
    (F, 2) px, and (F,) by how much the noise is reduced.
    """
    used = np.flatnonzero(weight > 0)
    out, factor = own.copy(), np.ones(len(own))
    if len(used) < _LEAST_SMOOTHED:
        return out, factor
    values, w = own[used], weight[used]
    best, score = None, np.inf
    for width in _WIDTHS:
        matrix = _matrix(used.astype(np.float64), w, width)
        left_out = (values - matrix @ values) / np.maximum(1.0 - np.diag(matrix), 1e-3)[:, None]
        squared = (left_out**2).sum(axis=1) * w
        error = float(np.sqrt(np.minimum(squared, _CLIP * np.median(squared)).mean()))
        # a wider one must be clearly better: it is wrong in the same direction for many frames
        if error < _BETTER * score:
            best, score = matrix, error
    if best is None or score > _PLAIN:
        return out, factor
    fitted = best @ values
    # a step, or a short fast move, is not error
    rest = np.hypot(*(values - fitted).T)
    calm = rest <= _ROBUST * np.maximum(np.sqrt(2 / w), 1.4826 * np.median(rest))
    out[used] = np.where(calm[:, None], fitted, values)
    factor[used] = np.where(calm, np.sqrt((best**2 @ (1.0 / w)) * w), 1.0)
    return out, np.minimum(factor, 1.0)


def _matrix(at: Array, weight: Array, width: float) -> Array:
    """Compute rows (F, F) of the weighted local linear fit at each frame."""
    distance = at[None] - at[:, None]
    kernel = np.exp(-0.5 * (distance / width) ** 2) * (
        np.abs(distance) <= _REACH_WIDTHS * width + 1
    )
    kernel = kernel * weight[None]
    s0, s1, s2 = (np.sum(kernel * distance**n, axis=1) for n in range(3))
    determinant = np.maximum(s0 * s2 - s1**2, 1e-12 * s0 * np.maximum(s2, 1e-12))
    return kernel * (s2[:, None] - s1[:, None] * distance) / determinant[:, None]
