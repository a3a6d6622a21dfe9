"""Own motion is slow, jitter is common: what a scan as a whole says about single frames.

Stage and optics move all particles alike from frame to frame; what particles do on their own,
a deforming electrode, takes many frames. The part of a place that is neither common nor slow is
error. How slow own motion is, is learned from the scan itself: the width of the smoothing of each
particle is the one that predicts left-out frames best, and may be none.
"""

from __future__ import annotations

import numpy as np

from ....models.arrays import Array

_WIDTHS = (1.0, 2.0, 4.0, 8.0)  # frames

_ROUNDS = 4

_LEAST_PARTICLES = 4

_LEAST_FRAMES = 12

_REACH = 3.0

_ROBUST = 3.0

_CLIP = 9.0

_BETTER = 0.97

_PLAIN = 2.2  # left-out error in units of the noise, above which own motion is not slow


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
    if particles < _LEAST_PARTICLES or frames < _LEAST_FRAMES:
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
    """Motion from frame to frame that most particles share, added up, (F, 2) px."""
    step = np.diff(yx, axis=0)
    seen = np.isfinite(step).any(axis=(1, 2))
    middle = np.zeros((len(step), 2))
    middle[seen] = np.nanmedian(step[seen], axis=1)
    return np.concatenate([np.zeros((1, 2)), np.cumsum(middle, axis=0)])


def _smooth(own: Array, weight: Array) -> tuple[Array, Array]:
    """Local linear fits of the width that predicts left-out frames best.

    Returns
    -------
    (F, 2) px, and (F,) by how much the noise is reduced.
    """
    used = np.flatnonzero(weight > 0)
    out, factor = own.copy(), np.ones(len(own))
    if len(used) < _LEAST_FRAMES:
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
    """Rows (F, F) of the weighted local linear fit at each frame."""
    distance = at[None] - at[:, None]
    kernel = np.exp(-0.5 * (distance / width) ** 2) * (np.abs(distance) <= _REACH * width + 1)
    kernel = kernel * weight[None]
    s0, s1, s2 = (np.sum(kernel * distance**n, axis=1) for n in range(3))
    determinant = np.maximum(s0 * s2 - s1**2, 1e-12 * s0 * np.maximum(s2, 1e-12))
    return kernel * (s2[:, None] - s1[:, None] * distance) / determinant[:, None]
