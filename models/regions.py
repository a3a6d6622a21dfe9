"""From a flattened frame to one coarse region per particle."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import find_objects

from .arrays import Image, Labels, Mask
from .masks import components, grow, without_holes, without_tendrils
from .necks import split_necks

Box = tuple[slice, slice]
_PEEL = 0.35
_CHUNKY = 0.3
_COMPACT = 0.45
_RAISE = 1.3


def find_regions(flat: Image, low: float, peak: Mask, min_area: float, neck: float) -> Labels:
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
    parts = [
        (box, part)
        for box, mask in _components(flat > low, min_area)
        for part in _peel(mask, flat[box], peak[box], low, min_area, neck)
    ]
    count = 0
    for (box, _), pieces in zip(
        parts, _pieces(parts, flat, peak, low, min_area, neck), strict=True
    ):
        for piece in pieces:
            count += 1
            out[box][piece] = count
    return out


def _pieces(
    parts: list[tuple[Box, Mask]], flat: Image, peak: Mask, low: float, min_area: float, neck: float
) -> list[list[Mask]]:
    """Cut regions at their necks; what is no compact piece is tried again at a higher level."""
    found: list[list[list[Mask]]] = []
    again: list[tuple[Box, Mask]] = []
    owners: list[tuple[int, int, Box]] = []
    cuts = split_necks([mask for _, mask in parts], neck)
    for i, ((box, _), (pieces, depths)) in enumerate(zip(parts, cuts, strict=True)):
        found.append([])
        for n, depth in enumerate(depths, 1):
            piece = pieces == n
            area = int(np.count_nonzero(piece))
            if area < min_area or not (piece & peak[box]).any():
                continue
            # Area of the largest inscribed disc over the area of the piece.
            chunky = np.pi * depth**2 / area
            if chunky <= _COMPACT:
                for inner, part in _components(piece & (flat[box] > _RAISE * low), min_area):
                    again.append((_within(box, inner), part))
                    owners.append((i, len(found[i]), inner))
            found[i].append([piece] if chunky > _CHUNKY else [])
    if again:
        higher = _pieces(again, flat, peak, _RAISE * low, min_area, neck)
        _replace(found, parts, owners, higher)
    return [[piece for slot in slots for piece in slot] for slots in found]


def _replace(
    found: list[list[list[Mask]]],
    parts: list[tuple[Box, Mask]],
    owners: list[tuple[int, int, Box]],
    higher: list[list[Mask]],
) -> None:
    """Put what was found at a higher level in the place of the pieces it was found in."""
    better: dict[tuple[int, int], list[Mask]] = {}
    for (i, slot, inner), subs in zip(owners, higher, strict=True):
        placed = [_placed(without_holes(sub), inner, parts[i][1].shape) for sub in subs]
        better.setdefault((i, slot), []).extend(placed)
    for (i, slot), subs in better.items():
        found[i][slot] = subs or found[i][slot]


def _within(outer: Box, inner: Box) -> Box:
    """A box in a box, as a box of the frame."""
    y, x = (slice(o.start + i.start, o.start + i.stop) for o, i in zip(outer, inner, strict=True))
    return y, x


def _placed(part: Mask, box: Box, shape: tuple[int, ...]) -> Mask:
    whole = np.zeros(shape, bool)
    whole[box] = part
    return whole


def _components(mask: Mask, min_area: float) -> list[tuple[Box, Mask]]:
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
    mask: Mask, flat: Image, peak: Mask, low: float, min_area: float, neck: float
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
        subs = _peel(part, flat[box], peak[box], low, min_area, neck)
        for pieces, depths in split_necks(subs, neck):
            # A halo of what was peeled off is left in crescents; they are nobody's.
            parts += [
                _placed(pieces == n, box, mask.shape)
                for n, depth in enumerate(depths, 1)
                if np.pi * depth**2 > _COMPACT * np.count_nonzero(pieces == n)
            ]
    return parts


def _high(values: Image) -> float:
    """The 0.9 quantile, much faster on few values than `numpy.quantile`."""
    place = 0.9 * (len(values) - 1)
    k = int(place)
    values.partition(k)
    above = values[k + 1 :].min() if k + 1 < len(values) else values[k]
    return float(values[k]) + (place - k) * float(above - values[k])
