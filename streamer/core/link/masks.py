"""Masks and thumbnails of the detections of one frame, and how well they agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ....models.arrays import Array, Mask
from ....models.detector import Detections

THUMBNAIL = 24  # cells per side, enough for the shades of a particle; by eye
_STEPS = 8  # at most, of a fixed point that three find unless hardly anything is seen; by eye
_CLOSE_PX = 0.05  # step at which the fixed point is found, a tenth of a pixel's rounding; by eye


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedMask:
    """A mask with its centre of mass at a place of the frame.

    Attributes
    ----------
    mask : (h, w) bool.
    mask_yx : (2,) float64, centre of mass in the pixel coordinates of `mask`.
    yx : (2,) float64, where in the frame that centre lies, px.
    """

    mask: Mask
    mask_yx: Array
    yx: Array

    @property
    def corner(self) -> NDArray[np.int64]:
        """Return the pixel (y, x) of the frame on which the first of the mask falls."""
        return np.round(self.yx - self.mask_yx).astype(np.int64)


def overlap(first: PlacedMask, second: PlacedMask) -> float:
    """Divide intersection by union of two masks where they lie (whole pixels)."""
    offset = first.corner - second.corner
    low = np.maximum(0, -offset)
    high = np.minimum(first.mask.shape, second.mask.shape - offset)
    if (high <= low).any():
        return 0.0
    one = first.mask[low[0] : high[0], low[1] : high[1]]
    low, high = low + offset, high + offset
    two = second.mask[low[0] : high[0], low[1] : high[1]]
    common = np.count_nonzero(one & two)
    union = np.count_nonzero(first.mask) + np.count_nonzero(second.mask) - common
    return common / max(union, 1)


def visible_part(placed: PlacedMask, valid: Mask) -> Mask:
    """Find the pixels (h, w) of a placed mask that fall on valid pixels of the frame."""
    out = np.zeros_like(placed.mask)
    low = np.maximum(0, -placed.corner)
    high = np.minimum(placed.mask.shape, valid.shape - placed.corner)
    if (high > low).all():
        inner = (slice(low[0], high[0]), slice(low[1], high[1]))
        low, high = low + placed.corner, high + placed.corner
        out[inner] = placed.mask[inner] & valid[low[0] : high[0], low[1] : high[1]]
    return out


def place_cut(placed: PlacedMask, seen_yx: Array, valid: Mask) -> PlacedMask:
    """Move a whole mask to where its visible part has its centre of mass at `seen_yx`.

    A particle that the frame cuts is seen with a centre that stays behind; the place of the whole
    is the fixed point of adding what the visible part is off by. Without any visible part the mask
    is put at `seen_yx`.

    Parameters
    ----------
    placed : the whole mask at its expected place.
    seen_yx : (2,) centre of mass of the mask that was seen, px.
    valid : (H, W) bool, pixels that can be seen.
    """
    points = np.argwhere(placed.mask) - placed.mask_yx
    last = np.array(valid.shape) - 1
    yx = placed.yx
    for _ in range(_STEPS):
        at = np.round(points + yx).astype(np.int64)
        inside = np.asarray(((at >= 0) & (at <= last)).all(axis=1))
        inside[inside] = valid[at[inside, 0], at[inside, 1]]
        if not inside.any():
            yx = seen_yx
            break
        step = seen_yx - (points[inside].mean(axis=0) + yx)
        yx = yx + step
        if np.abs(step).max() < _CLOSE_PX:
            break
    return PlacedMask(mask=placed.mask, mask_yx=placed.mask_yx, yx=yx)


def thumbnails(od: NDArray[np.float32], detections: Detections) -> NDArray[np.float32]:
    """Make small views of the square window of each detection, of zero mean and unit variance.

    Standardising takes gain and offset out, so that an absorption edge does not make a particle
    look different from itself.

    Returns
    -------
    (N, T, T) float32 with T = 24.
    """
    count = len(detections)
    if count == 0:
        return np.zeros((0, THUMBNAIL, THUMBNAIL), np.float32)
    height, width = od.shape
    box = detections.bbox.astype(np.float64)
    side = 1.3 * np.maximum(box[:, 2] - box[:, 0], box[:, 3] - box[:, 1])
    steps = (np.arange(THUMBNAIL) + 0.5) / THUMBNAIL - 0.5
    y = detections.yx[:, :1] + side[:, None] * steps  # (N, T)
    x = detections.yx[:, 1:] + side[:, None] * steps
    rows = np.clip(np.round(y), 0, height - 1).astype(int)
    columns = np.clip(np.round(x), 0, width - 1).astype(int)
    # every thumbnail pixel averages a 3 x 3 of samples spread over its footprint, against noise
    reach = np.maximum(side / THUMBNAIL / 3, 1).astype(int)[:, None]
    total = np.zeros((count, THUMBNAIL, THUMBNAIL), np.float32)
    for dy in (-1, 0, 1):
        r = np.clip(rows + dy * reach, 0, height - 1)
        for dx in (-1, 0, 1):
            c = np.clip(columns + dx * reach, 0, width - 1)
            total += od[r[:, :, None], c[:, None, :]]
    total -= total.mean(axis=(1, 2), keepdims=True)
    spread = total.std(axis=(1, 2), keepdims=True)
    return total / np.maximum(spread, 1e-6)


def similarity(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Compute the structural term of SSIM of two thumbnails over the whole view, -1..1."""
    return float((first * second).mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionView:
    """One detection as the linker compares it.

    Attributes
    ----------
    placed : its mask where it lies.
    thumbnail : (T, T) float32, standardised.
    divided : it is a share of a detection of several particles.
    """

    placed: PlacedMask
    area: float
    moments: Array
    score: float
    cut: bool
    thumbnail: NDArray[np.float32]
    divided: bool


def view_detections(
    detections: Detections, od: NDArray[np.float32], divided: frozenset[int]
) -> tuple[DetectionView, ...]:
    """Prepare the detections of a frame; the rows `divided` are shares of larger ones."""
    small = thumbnails(od, detections)
    views = []
    for row, (y0, x0, y1, x1) in enumerate(detections.bbox):
        mask = detections.labels[y0:y1, x0:x1] == row + 1
        yx = detections.yx[row]
        views.append(
            DetectionView(
                placed=PlacedMask(mask=mask, mask_yx=yx - (y0, x0), yx=yx),
                area=float(detections.area[row]),
                moments=detections.moments[row],
                score=float(detections.score[row]),
                cut=bool(detections.cut[row]),
                thumbnail=small[row],
                divided=row in divided,
            )
        )
    return tuple(views)


def positions(vectors: list[Array]) -> Array:
    """Stack vectors (2,) as (N, 2), also where there is none."""
    return np.array(vectors, dtype=np.float64).reshape(-1, 2)
