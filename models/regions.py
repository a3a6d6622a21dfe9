"""From a flattened frame to one coarse region per particle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import (
    distance_transform_edt,
    find_objects,
    maximum_filter,
)
from skimage.segmentation import watershed

from .masks import Mask, components, grow, without_holes, without_tendrils
from .smooth import gaussian

Map = NDArray[np.float32]
Labels = NDArray[np.int32]
_PEEL = 0.35
_CHUNKY = 0.3
_COMPACT = 0.45
_RAISE = 1.3
_DISC = 0.9
_CROSS = np.ones((3, 3), bool)
_LARGE = 48


def find_regions(flat: Map, low: float, peak: Mask, min_area: float, neck: float) -> Labels:
    """Find regions, one per particle.

    Connected regions above `low` are taken apart twice: dense particles are peeled off what is
    attached to them and much fainter, then regions are cut at narrow necks.

    Parameters
    ----------
    flat : (h, w) OD above the background; 0 where invalid.
    low : OD above which a cell belongs to a region.
    peak : (h, w) cells that stand out; a region without any is noise.
    min_area : area of the smallest region, cells.
    neck : regions are cut where the neck is narrower than this share of the smaller part.

    Returns
    -------
    (h, w) int32, 0 is background.
    """
    out = np.zeros(flat.shape, np.int32)
    count = 0
    for box, mask in _components(flat > low, min_area):
        for part in _peel(mask, flat[box], peak[box], low, min_area, neck):
            for piece in _pieces(part, flat[box], peak[box], low, min_area, neck):
                count += 1
                out[box][piece] = count
    return out


def _pieces(
    mask: Mask, flat: Map, peak: Mask, low: float, min_area: float, neck: float
) -> list[Mask]:
    """Cut a region at its necks; what is no compact piece is tried again at a higher level."""
    found = []
    pieces, depths = split_necks(mask, neck)
    for n, depth in enumerate(depths, 1):
        piece = pieces == n
        area = int(np.count_nonzero(piece))
        if area < min_area or not (piece & peak).any():
            continue
        # Area of the largest inscribed disc over the area of the piece.
        chunky = np.pi * depth**2 / area
        if chunky > _COMPACT:
            found.append(piece)
            continue
        higher = []
        for box, part in _components(piece & (flat > _RAISE * low), min_area):
            subs = _pieces(part, flat[box], peak[box], _RAISE * low, min_area, neck)
            higher += [_placed(without_holes(sub), box, mask.shape) for sub in subs]
        if higher:
            found.extend(higher)
        elif chunky > _CHUNKY:
            found.append(piece)
    return found


def _placed(part: Mask, box: tuple[slice, ...], shape: tuple[int, ...]) -> Mask:
    whole = np.zeros(shape, bool)
    whole[box] = part
    return whole


def _components(mask: Mask, min_area: float) -> list[tuple[tuple[slice, ...], Mask]]:
    """Bounding boxes and masks of the connected components that are large enough."""
    labels, count = components(mask)
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    boxes = find_objects(labels)
    return [
        (box, labels[box] == n)
        for n, box in enumerate(boxes, 1)
        if box is not None and areas[n] >= min_area
    ]


def _peel(
    mask: Mask, flat: Map, peak: Mask, low: float, min_area: float, neck: float
) -> list[Mask]:
    """Separate dense particles from faint ones that touch them."""
    if not (mask & peak).any():
        return []
    threshold = _PEEL * _high(flat[mask])
    if threshold <= 1.2 * low:
        return [without_holes(mask)]
    parts = [
        _placed(without_holes(part), box, mask.shape)
        for box, part in _components(mask & (flat > threshold), min_area)
    ]
    if not parts:
        return [without_holes(mask)]
    dense = np.logical_or.reduce(parts)
    rest = without_tendrils(mask & ~grow(dense, 3), 1)
    for box, part in _components(rest, min_area):
        for sub in _peel(part, flat[box], peak[box], low, min_area, neck):
            # A halo of what was peeled off is left in crescents; they are nobody's.
            pieces, depths = split_necks(sub, neck)
            parts += [
                _placed(pieces == n, box, mask.shape)
                for n, depth in enumerate(depths, 1)
                if np.pi * depth**2 > _COMPACT * np.count_nonzero(pieces == n)
            ]
    return parts


def _high(values: Map) -> float:
    """The 0.9 quantile, much faster on few values than `numpy.quantile`."""
    place = 0.9 * (len(values) - 1)
    k = int(place)
    values.partition(k)
    above = values[k + 1 :].min() if k + 1 < len(values) else values[k]
    return float(values[k]) + (place - k) * float(above - values[k])


def split_necks(mask: Mask, neck: float) -> tuple[Labels, list[float]]:
    """Cut a region at its necks, by a watershed of the distance to its rim.

    Geometry only, so that the cut does not depend on contrast or chemistry. Basins whose common
    neck is at least `neck` times as wide as the smaller of them are one particle.

    Parameters
    ----------
    mask : (h, w) one connected region.
    neck : share, 0..1.

    Returns
    -------
    (h, w) int32 labels 1, 2, ... and the largest distance to the rim in each, cells.
    """
    stride = 2 if max(mask.shape) > _LARGE else 1
    view = mask[::stride, ::stride]
    small = np.zeros((view.shape[0] + 2, view.shape[1] + 2), bool)
    small[1:-1, 1:-1] = view
    raw = np.asarray(distance_transform_edt(small), np.float32)
    radius = float(raw.max())
    if np.pi * radius**2 > _DISC * np.count_nonzero(small):
        return mask.astype(np.int32), [radius * stride]
    depth = gaussian(raw, 1.0, 3) * small
    size = 2 * max(1, round(0.15 * radius)) + 1
    tops = (maximum_filter(depth, size) == depth) & (depth > 0.2 * radius) & (depth > 1.5)
    seeds, count = components(tops, _CROSS)
    if count <= 1:
        return mask.astype(np.int32), [radius * stride]
    basins = watershed(-depth, seeds, mask=small)
    merged = _merge(basins, depth, count, neck)[basins]
    depths = _largest(merged, raw)
    merged = merged[1:-1, 1:-1]
    if stride > 1:
        merged = merged.repeat(stride, 0).repeat(stride, 1)[: mask.shape[0], : mask.shape[1]]
    return (merged * mask).astype(np.int32), [float(d) * stride for d in depths[1:]]


def _largest(labels: Labels, values: Map) -> Map:
    """Largest of some positive values by label; 0 outside of all, (count + 1,)."""
    inside = np.flatnonzero(labels > 0)
    owner, values = labels.take(inside), values.take(inside)
    order = np.argsort(values)
    out = np.zeros(int(owner.max(initial=0)) + 1, np.float32)
    out[owner[order]] = values[order]  # of several values the last one stays
    return out


def _merge(basins: Labels, depth: Map, count: int, neck: float) -> Labels:
    """New label of each basin after wide necks are undone, (count + 1,) int32."""
    peaks = _largest(basins, depth)
    pairs = _passes(basins, depth, count)
    root = np.arange(count + 1)
    # From the widest pass down; the union keeps the larger peak, as in a merge tree.
    for width, a, b in sorted(pairs, reverse=True):
        i, j = root[a], root[b]
        if i != j and width >= neck * min(peaks[i], peaks[j]):
            keep, drop = (i, j) if peaks[i] >= peaks[j] else (j, i)
            root[root == drop] = keep
    _, inverse = np.unique(root, return_inverse=True)
    return inverse.astype(np.int32)


def _passes(basins: Labels, depth: Map, count: int) -> list[tuple[float, int, int]]:
    """Height of the pass between each two neighbouring basins: (height, a, b)."""
    keys, heights = [], []
    for a, b in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        first, second = basins[a], basins[b]
        rim = (first != second) & (first > 0) & (second > 0)
        low, high = np.minimum(first[rim], second[rim]), np.maximum(first[rim], second[rim])
        keys.append(low.astype(np.int64) * (count + 1) + high)
        heights.append(np.minimum(depth[a][rim], depth[b][rim]))
    key, inverse = np.unique(np.concatenate(keys), return_inverse=True)
    height = np.zeros(len(key))
    np.maximum.at(height, inverse, np.concatenate(heights))
    return [
        (float(h), int(k // (count + 1)), int(k % (count + 1)))
        for h, k in zip(height, key, strict=True)
    ]
