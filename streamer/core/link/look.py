"""What the linker looks at in one frame: detections, and tracks where they are expected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ....models.arrays import Array, Mask
from ....models.detector import Detections
from .settings import LinkSettings
from .tracks import LinkState, Track

THUMBNAIL = 24
_STEPS = 8
_CLOSE_PX = 0.05

# Masks and thumbnails of detections, and how well they agree with those of a track.


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
        """Pixel (y, x) of the frame on which the first of the mask falls."""
        return np.round(self.yx - self.mask_yx).astype(np.int64)


def crop_mask(detections: Detections, index: int) -> tuple[Mask, Array]:
    """Cut one mask out of the label image.

    Returns
    -------
    mask : (h, w) bool.
    mask_yx : (2,) float64, centre of mass in the pixel coordinates of the crop.
    """
    y0, x0, y1, x1 = (int(v) for v in detections.bbox[index])
    mask = detections.labels[y0:y1, x0:x1] == index + 1
    return mask, detections.yx[index] - (y0, x0)


def overlap(first: PlacedMask, second: PlacedMask) -> float:
    """Intersection over union of two masks where they lie (whole pixels)."""
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
    """Pixels (h, w) of a placed mask that fall on valid pixels of the frame."""
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


def coverage(
    masks: Sequence[PlacedMask], labels: NDArray[np.int32], count: int, valid: Mask
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many pixels of each of T placed masks fall on each of `count` detections.

    Returns
    -------
    common : (T, count) pixels.
    visible : (T,) pixels of each mask that fall on valid pixels of the frame.
    """
    if not masks:
        return np.zeros((0, count), np.int64), np.zeros(0, np.int64)
    at = [np.argwhere(m.mask) + m.corner for m in masks]
    owner = np.repeat(np.arange(len(masks)), [len(a) for a in at])
    yx = np.concatenate(at)
    inside = ((yx >= 0) & (yx < labels.shape)).all(axis=1)
    owner, yx = owner[inside], yx[inside]
    seen = valid[yx[:, 0], yx[:, 1]]
    visible = np.bincount(owner[seen], minlength=len(masks))
    pairs = owner * (count + 1) + labels[yx[:, 0], yx[:, 1]]
    common = np.bincount(pairs, minlength=len(masks) * (count + 1))
    return common.reshape(len(masks), count + 1)[:, 1:], visible


def thumbnails(od: NDArray[np.float32], detections: Detections) -> NDArray[np.float32]:
    """Standardised (zero mean, unit variance) small views of the square window of each detection.

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
    """Structural term of SSIM of two standardised thumbnails over the whole view, -1..1."""
    return float((first * second).mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionView:
    """One detection as the linker compares it.

    Attributes
    ----------
    placed : its mask where it lies.
    view : (T, T) float32, standardised thumbnail.
    divided : it is a share of a detection of several particles.
    """

    placed: PlacedMask
    area: float
    moments: Array
    score: float
    cut: bool
    view: NDArray[np.float32]
    divided: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UnlinkedFrame:
    """One frame before its detections have identities.

    Attributes
    ----------
    looks : its N detections.
    tracks : T tracks, and `expected` : their masks where they are expected.
    gates : (T,) float64, how far from there they may be, px.
    valid : (H, W) bool, pixels that can be seen.
    """

    looks: tuple[DetectionView, ...]
    tracks: tuple[Track, ...]
    expected: tuple[PlacedMask, ...]
    gates: Array
    valid: Mask


def view_detections(
    detections: Detections, od: NDArray[np.float32], divided: frozenset[int]
) -> tuple[DetectionView, ...]:
    """Prepare the detections of a frame; the rows `divided` are shares of larger ones."""
    views = thumbnails(od, detections)
    looks = []
    for row in range(len(detections)):
        mask, mask_yx = crop_mask(detections, row)
        looks.append(
            DetectionView(
                placed=PlacedMask(mask=mask, mask_yx=mask_yx, yx=detections.yx[row]),
                area=float(detections.area[row]),
                moments=detections.moments[row],
                score=float(detections.score[row]),
                cut=bool(detections.cut[row]),
                view=views[row],
                divided=row in divided,
            )
        )
    return tuple(looks)


def expect(state: LinkState, total: Array) -> tuple[PlacedMask, ...]:
    """Masks of the tracks where they are expected; `total` is the common shift so far, px."""
    return tuple(
        PlacedMask(mask=t.mask, mask_yx=t.mask_yx, yx=t.yx + t.velocity + total)
        for t in state.tracks
    )


def place(track: Track, expected: PlacedMask, look: DetectionView, valid: Mask) -> PlacedMask:
    """Where the mask of a track lies if it is what is seen."""
    if look.cut and track.whole:
        return place_cut(expected, look.placed.yx, valid)
    return replace(expected, yx=look.placed.yx)


def gates(state: LinkState, jump: float, settings: LinkSettings) -> Array:
    """How far from its prediction each track may be, (T,) px; `jump` is the common shift, px."""
    base = settings.gate_new_run_px if state.new_run else settings.gate_px
    misses = np.array([t.misses for t in state.tracks], dtype=float)
    size = np.sqrt(np.array([t.area for t in state.tracks]))
    speed = np.hypot(*positions([t.velocity for t in state.tracks]).T)
    # masks of large particles wander in proportion to their size
    width = np.maximum(base, 0.08 * size) + settings.gate_growth_px * misses
    width += settings.gate_per_jump * jump + 0.5 * speed
    return cast("Array", np.minimum(width, settings.gate_max_px))


def within(scene: UnlinkedFrame, reach: Array) -> NDArray[np.bool_]:
    """Tell which detections may lie within reach (T,), px, of where tracks are expected, (T, N)."""
    expected = positions([e.yx for e in scene.expected])
    offset = positions([look.placed.yx for look in scene.looks])[None] - expected[:, None]
    # a cut mask moves its centre by up to half of what is missing
    area = np.array([look.area for look in scene.looks])
    size = np.sqrt(np.maximum(area, np.array([[t.area] for t in scene.tracks]).reshape(-1, 1)))
    slack = 0.5 * size * np.array([look.cut for look in scene.looks], dtype=bool)
    return np.hypot(offset[..., 0], offset[..., 1]) <= reach[:, None] + slack


def positions(vectors: list[Array]) -> Array:
    """Stack vectors (2,) as (N, 2), also where there is none."""
    return np.array(vectors, dtype=np.float64).reshape(-1, 2)
