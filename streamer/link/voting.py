"""Common shift of a field of particles by voting over pairwise displacements."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def shape_similarity(areas: Array, moments: Array, areas_new: Array, moments_new: Array) -> Array:
    """Similarity of mask shapes, blind to intensity.

    Parameters
    ----------
    areas, areas_new : (N,) and (M,) float64, px^2.
    moments, moments_new : (N, 3) and (M, 3) float64, central second moments (yy, xx, yx), px^2.

    Returns
    -------
    (N, M) float64 in 0..1; 1 for the same area and normalised moments.
    """
    log_area = np.log(np.maximum(areas[:, None], 1.0) / np.maximum(areas_new[None], 1.0))
    normal = moments / np.maximum(areas, 1.0)[:, None]
    normal_new = moments_new / np.maximum(areas_new, 1.0)[:, None]
    # a disc has yy/area = 1/(4 pi) = 0.08: differences of a third of that count as one sigma
    shape = ((normal[:, None] - normal_new[None]) ** 2).sum(-1) / 0.03**2
    return np.exp(-0.5 * (log_area**2 / 0.25**2 + shape))


def common_shift(
    predicted: Array, seen: Array, weights: Array, *, width: float, max_shift: float
) -> tuple[Array, float]:
    """Find the shift that most particles agree on.

    Every pair of a predicted and a seen position proposes its displacement; every particle gives
    each proposal its best-matching vote, so that a crowded corner cannot outvote the field. A
    mild preference for short shifts breaks ties of periodic fields.

    Parameters
    ----------
    predicted : (N, 2) float64, (y, x) positions expected without a common shift, px.
    seen : (M, 2) float64, detected positions, px.
    weights : (N, M) float64, similarity of each pair, 0..1.
    width : sigma of one vote, px.
    max_shift : longest shift considered, px.

    Returns
    -------
    shift : (2,) float64, added to `predicted` to land on `seen`, px; zero without candidates.
    support : fraction of the N particles that agree (weighted votes), 0..1; NaN if N = 0.
    """
    if len(predicted) == 0:
        return np.zeros(2), float("nan")
    pairs = seen[None] - predicted[:, None]  # (N, M, 2)
    allowed = (np.hypot(pairs[..., 0], pairs[..., 1]) <= max_shift) & (weights > 0.02)
    if not allowed.any():
        return np.zeros(2), 0.0
    candidates = pairs[allowed]
    distance2 = ((pairs[None] - candidates[:, None, None]) ** 2).sum(-1)  # (K, N, M)
    votes = np.where(allowed, weights, 0.0) * np.exp(-0.5 * distance2 / width**2)
    per_particle = votes.max(axis=2)
    length = np.hypot(candidates[:, 0], candidates[:, 1])
    prior = 1.0 - 0.25 * length / max_shift
    best = int(np.argmax(per_particle.sum(axis=1) * prior))
    chosen = votes[best].argmax(axis=1)
    rows = np.arange(len(predicted))
    strength = votes[best][rows, chosen]
    agreeing = strength > 0.05
    shift = np.average(pairs[rows, chosen][agreeing], axis=0, weights=strength[agreeing])
    return shift, float(per_particle[best].sum() / len(predicted))
