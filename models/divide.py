"""Divide detections that hold several particles, and join the parts of one particle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from .detector import Detections
from .masks import grow

_RIM = 2  # a mask this close to invalid pixels is cut by them, px; by eye


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """Mask of a particle where it is expected.

    Attributes
    ----------
    mask : (h, w) bool.
    corner : (y, x) pixel of the frame at which the mask begins; may lie outside.
    """

    mask: NDArray[np.bool_]
    corner: tuple[int, int]


def divide(
    detections: Detections, row: int, seeds: Sequence[Seed], valid: NDArray[np.bool_]
) -> Detections:
    """Share the mask of one detection among the particles that are expected in it.

    Every pixel goes to the expected mask that it lies deepest in, or else nearest to: the
    marker-controlled partition of touching objects with known shapes as markers, which needs no
    contrast between them (a watershed of the distance would cut at the narrowest place, and
    touching particles that have grown together have none).

    Parameters
    ----------
    detections : of the frame.
    row : the detection to divide.
    seeds : K >= 2 expected particles.
    valid : (H, W) bool, pixels that may be used.

    Returns
    -------
    Detections with the same rows, `row` being the part of the first seed, and further rows at the
    end for the parts of the others. Parts without a pixel are left out, except the first.
    """
    y0, x0, y1, x1 = (int(v) for v in detections.bbox[row])
    window = (slice(y0, y1), slice(x0, x1))
    mask = detections.labels[window] == row + 1
    if not mask.any():
        return detections
    depth = np.stack([_depth(seed, (y0, x0), mask.shape) for seed in seeds])
    owner = depth.argmax(axis=0)[mask]
    kept = [k for k in range(len(seeds)) if k == 0 or (owner == k).any()]
    if len(kept) < 2 or not (owner == 0).any():
        return detections
    count = len(detections)
    names = np.zeros(len(seeds), np.int32)
    names[kept] = [row + 1, *range(count + 1, count + len(kept))]
    labels = detections.labels.copy()
    labels[window][mask] = names[owner]
    area = float(detections.area[row])
    parts = _measure(labels, names[kept], detections.bbox[row], area, valid)
    return _with_parts(detections, row, labels, parts)


def join(
    detections: Detections, groups: Sequence[NDArray[np.intp]], valid: NDArray[np.bool_]
) -> tuple[Detections, tuple[int, ...]]:
    """Make one detection of several.

    Parameters
    ----------
    groups : rows of the parts of one particle, ascending, for each of K particles; no row is in
        two groups. The first of them takes up the others.
    valid : (H, W) bool, pixels that may be used.

    Returns
    -------
    detections : without the rows that were taken up; those that are left keep their order.
    rows : the K rows in them that were made of several.
    """
    kept = np.setdiff1d(np.arange(len(detections)), [row for g in groups for row in g[1:]])
    names = np.zeros(len(detections) + 1, np.int32)
    names[kept + 1] = np.arange(1, len(kept) + 1)
    for group in groups:
        names[group + 1] = names[group[0] + 1]
    labels = names[detections.labels]
    out = _select(detections, kept)
    made = tuple(int(names[group[0] + 1]) - 1 for group in groups)
    for group, row in zip(groups, made, strict=True):
        mass, boxes = detections.area[group], detections.bbox[group]
        box = np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])
        name = np.array([row + 1], np.int32)
        parts = _measure(labels, name, box, float(mass.sum()), valid)
        parts["contrast"] = np.average(detections.contrast[group], weights=mass, keepdims=True)
        parts["score"] = detections.score[group].max(keepdims=True)
        out = _with_parts(out, row, labels, parts)
    return replace(out, labels=labels), made


def _depth(seed: Seed, corner: tuple[int, int], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Compute distances to the rim of a seed, px, positive inside, over a window at `corner`."""
    low = np.minimum(seed.corner, corner)
    high = np.maximum(np.add(seed.corner, seed.mask.shape), np.add(corner, shape))
    canvas = np.zeros(high - low + 2, bool)
    top, left = np.subtract(seed.corner, low) + 1
    canvas[top : top + seed.mask.shape[0], left : left + seed.mask.shape[1]] = seed.mask
    inner, outer = (np.asarray(distance_transform_edt(c)) for c in (canvas, ~canvas))
    signed = inner - outer
    top, left = np.subtract(corner, low) + 1
    return signed[top : top + shape[0], left : left + shape[1]]


def _measure(
    labels: NDArray[np.int32],
    names: NDArray[np.int32],
    bbox: NDArray[np.int64],
    area: float,
    valid: NDArray[np.bool_],
) -> dict[str, NDArray[Any]]:
    """Measure the labels `names` (ascending), which lie in `bbox` and have `area` together."""
    y0, x0, y1, x1 = (int(v) for v in bbox)
    y, x = np.nonzero(np.isin(labels[y0:y1, x0:x1], names))
    part = np.searchsorted(names, labels[y0:y1, x0:x1][y, x])
    y, x = y + y0, x + x0
    n = np.bincount(part, minlength=len(names))
    yx = np.stack([np.bincount(part, v) / n for v in (y, x)], axis=1)
    dy, dx = y - yx[part, 0], x - yx[part, 1]
    moments = np.stack([np.bincount(part, v) / n for v in (dy * dy, dx * dx, dy * dx)], axis=1)
    # a pixel is not a point: it adds the moment of a square
    moments += np.array([1 / 12, 1 / 12, 0.0])
    box = np.stack([_extreme(part, v, n, sign) for sign in (1, -1) for v in (y, x)], axis=1)
    # the rim of the detector's mask lies between pixels
    scale = area / n.sum()
    return {
        "yx": yx,
        "area": n * scale,
        "moments": moments,
        "bbox": box,
        "cut": np.array(
            [is_cut(labels, int(name), b, valid) for name, b in zip(names, box, strict=True)]
        ),
    }


def _extreme(
    part: NDArray[np.intp], values: NDArray[np.intp], n: NDArray[np.intp], sign: int
) -> NDArray[np.int64]:
    """Find the lowest value of each part (sign 1), or one past its highest (sign -1)."""
    out = np.full(len(n), np.iinfo(np.int64).max, dtype=np.int64)
    np.minimum.at(out, part, sign * values)
    return out if sign > 0 else 1 - out


def is_cut(
    labels: NDArray[np.int32], name: int, box: NDArray[np.int64], valid: NDArray[np.bool_]
) -> bool:
    """Tell whether a mask touches the rim of the frame or of the valid area."""
    low = np.maximum(box[:2] - _RIM, 0)
    high = np.minimum(box[2:] + _RIM, labels.shape)
    if (low != box[:2] - _RIM).any() or (high != box[2:] + _RIM).any():
        return True
    window = (slice(low[0], high[0]), slice(low[1], high[1]))
    mask = labels[window] == name
    return int(np.count_nonzero(mask & grow(~valid[window], _RIM))) >= 2


def _select(detections: Detections, rows: NDArray[np.intp]) -> Detections:
    columns = ("yx", "area", "moments", "bbox", "contrast", "score", "cut")
    return replace(detections, **{name: getattr(detections, name)[rows] for name in columns})


def _with_parts(
    detections: Detections, row: int, labels: NDArray[np.int32], parts: dict[str, NDArray[Any]]
) -> Detections:
    """Replace a row by the first of its parts and put the others at the end."""
    extra = len(parts["area"]) - 1
    rows = np.concatenate([np.arange(len(detections)), np.full(extra, row)])
    out = replace(_select(detections, rows), labels=labels)
    where = [row, *range(len(detections), len(detections) + extra)]
    for name, values in parts.items():
        column = getattr(out, name).copy()
        column[where] = values
        out = replace(out, **{name: column})
    return out
