"""Targets of the networks: masks with seams, windows around single particles, difficulties."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, uniform_filter

from ....models.arrays import Labels, Mask
from .scenes import TrainingScene

_FEWEST = 0.25  # valid share from which a cell counts, as in the input of the generator
_LEAST_SEEN = 0.35  # share of a particle's area that must be seen for a ROI
_LEAST_PIXELS = 25
_CLEAR = 0.15  # half the side of the free middle of a negative, in sides
_DRAWS = 64
_LIT = 0.4
_NONE = np.int32(np.iinfo(np.int32).max)
REGIMES = ("invisible", "noisy", "faint", "touching", "cut", "small", "large")
"""Order of the columns of `regimes_of`: difficulties that a particle poses; limits by eye."""
_SEEN = 2.5  # times what the frame shows without it
_NOISY, _FAINT = 1.0, 0.15  # signal-to-noise ratio of a pixel; contrast, OD
_SMALL, _LARGE = 24.0, 90.0  # px


def generator_target(labels: Labels, step: int, valid: Mask | None = None) -> NDArray[np.float32]:
    """Compute the share of cells that is particle, with a seam of one or two where they touch.

    Cells that see two particles, or see one and border on another, are background: what is above
    one half falls apart into single particles.

    Parameters
    ----------
    labels : (H, W) int32; H and W multiples of `step`.
    step : px per cell.
    valid : (H, W) bool, pixels that count; all if None.

    Returns
    -------
    (H / step, W / step) float32, 0..1; 0 where too few pixels are valid.
    """
    usable = np.ones(labels.shape, bool) if valid is None else valid
    highest, lowest = label_range(labels)
    touching = _cells(highest, step).max(axis=(1, 3)) != _cells(lowest, step).min(axis=(1, 3))
    seen = _cells(usable, step).mean(axis=(1, 3), dtype=np.float32)
    covered = _cells((labels > 0) & usable, step).mean(axis=(1, 3), dtype=np.float32)
    share = np.where(seen >= _FEWEST, covered / np.maximum(seen, _FEWEST), 0)
    return np.where(touching, 0, share).astype(np.float32)


def cells_of(labels: Labels, which: NDArray[np.bool_], step: int) -> Mask:
    """Find the cells (H / step, W / step) that show any of the particles `which` (P,)."""
    chosen = np.concatenate([[False], which])[labels]
    return np.asarray(_cells(chosen, step).any(axis=(1, 3)), np.bool_)


def lit(valid: Mask) -> Mask:
    """Find pixels (H, W) around which most of the 5 x 5 px are valid.

    Single invalid pixels and cracks of the scintillator are no holes in a particle; dark sides of
    the frame are.
    """
    share = uniform_filter(valid.astype(np.float32), 5, mode="constant")
    return np.greater(share, _LIT)


def touching_pixels(labels: Labels) -> Mask:
    """Find pixels (H, W) of a particle next to another one, also at a corner."""
    highest, lowest = label_range(labels)
    return (labels > 0) & (highest != lowest)


def label_range(labels: Labels) -> tuple[Labels, Labels]:
    """Find the highest and lowest label in the 3 x 3 px around each pixel, (H, W) both.

    Without a particle there the highest is 0 and the lowest the largest int32.
    """
    highest, lowest = labels, np.where(labels > 0, labels, _NONE)
    for axis in (0, 1):
        highest, lowest = _of_three(highest, np.maximum, axis), _of_three(lowest, np.minimum, axis)
    return highest, lowest


def _of_three(image: Labels, best: np.ufunc, axis: int) -> Labels:
    """Take the best of each pixel and its two neighbours; several times faster than a filter."""
    view = np.moveaxis(image, axis, 0)
    out = view.copy()
    best(out[1:], view[:-1], out=out[1:])
    best(out[:-1], view[1:], out=out[:-1])
    return np.moveaxis(out, 0, axis)


def _cells(image: NDArray, step: int) -> NDArray:
    height, width = image.shape
    if height % step or width % step:
        raise ValueError(f"wanted sides that are multiples of {step}, got {height} x {width}")
    return image.reshape(height // step, step, width // step, step)


def regimes_of(scene: TrainingScene) -> NDArray[np.bool_]:
    """Classify what is difficult about each particle; several classes may apply.

    ``invisible``: `TrainingScene.visibility` below 2.5; nothing should be learnt about these.
    ``noisy``: signal-to-noise ratio of a pixel below 1. ``faint``: contrast below 0.15 OD.
    ``touching``: next to another particle, or over it. ``cut``: by the frame. ``small``,
    ``large``: diameter below 24 px, above 90 px.

    Returns
    -------
    (P, 7) bool, columns as in `REGIMES`.
    """
    d = scene.diameter
    touching = np.unique(scene.labels[touching_pixels(scene.labels)])
    return np.stack(
        [
            scene.visibility < _SEEN,
            scene.snr < _NOISY,
            scene.contrast < _FAINT,
            np.isin(np.arange(1, len(scene.yx) + 1), touching),
            ~scene.whole,
            d < _SMALL,
            d > _LARGE,
        ],
        axis=1,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rois:
    """M square windows of a scene.

    Attributes
    ----------
    centres : (M, 2) float32, (y, x), px.
    sides : (M,) float32, px.
    particle : (M,) int64, index of the particle that is meant; -1 if none.
    """

    centres: NDArray[np.float32]
    sides: NDArray[np.float32]
    particle: NDArray[np.int64]


def rois(
    scene: TrainingScene,
    rng: np.random.Generator,
    *,
    jitter: float = 0.2,
    scale: tuple[float, float] = (0.8, 1.3),
    negatives: float = 0.1,
) -> Rois:
    """Draw windows as a detector asks for, as wrong as it would be, and some of nothing.

    Parameters
    ----------
    scene : where.
    rng : source of randomness.
    jitter : largest error of a centre, equal-area diameters of what is seen.
    scale : range of the side, in units of twice that diameter.
    negatives : share of windows without a particle in their middle: background, clouds, and
        where two particles touch; one or none for a scene without particles.
    """
    middles, diameters, which = _seen(scene)
    count = len(which)
    angle, away = rng.uniform(0, 2 * np.pi, count), jitter * np.sqrt(rng.random(count))
    off = (away * diameters)[:, None] * np.stack([np.sin(angle), np.cos(angle)], 1)
    sides = 2 * diameters * rng.uniform(*scale, count)
    wanted = max(1.0, count / (1 - negatives)) * negatives
    extra = int(wanted) + int(rng.random() < wanted % 1)
    typical = diameters if count else np.exp(rng.uniform(np.log(14), np.log(120), 1))
    spots, widths = _negatives(scene, rng, extra, 2 * typical)
    return Rois(
        centres=np.concatenate([middles + off, spots]).astype(np.float32),
        sides=np.concatenate([sides, widths]).astype(np.float32),
        particle=np.concatenate([which, np.full(len(spots), -1)]).astype(np.int64),
    )


def _seen(
    scene: TrainingScene,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Measure centre, equal-area diameter and index of what is seen of each particle, px."""
    middles, diameters, which = [], [], []
    for i, box in enumerate(find_objects(scene.labels, max_label=len(scene.yx))):
        if box is None:
            continue
        y, x = np.nonzero((scene.labels[box] == i + 1) & scene.valid[box])
        if len(y) < max(_LEAST_PIXELS, _LEAST_SEEN * np.pi / 4 * scene.diameter[i] ** 2):
            continue
        middles.append((y.mean() + box[0].start, x.mean() + box[1].start))
        diameters.append(2 * np.sqrt(len(y) / np.pi))
        which.append(i)
    return (
        np.array(middles, np.float64).reshape(-1, 2),
        np.array(diameters, np.float64),
        np.array(which, np.int64),
    )


def _negatives(
    scene: TrainingScene, rng: np.random.Generator, count: int, sides: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw windows whose middle shows no particle, or the place where two touch."""
    spots, widths = [], []
    contacts = np.argwhere(touching_pixels(scene.labels))
    for _ in range(count):
        side = float(rng.choice(sides)) * rng.uniform(0.8, 1.3)
        if len(contacts) and rng.random() < 0.5:
            spots.append(contacts[rng.integers(len(contacts))].astype(np.float64))
            widths.append(side)
            continue
        for spot in rng.uniform(0, np.array(scene.labels.shape) - 1, (_DRAWS, 2)):
            if _is_clear(scene, spot, _CLEAR * side):
                spots.append(spot)
                widths.append(side)
                break
    return np.array(spots, np.float64).reshape(-1, 2), np.array(widths, np.float64)


def _is_clear(scene: TrainingScene, spot: NDArray[np.float64], reach: float) -> bool:
    y, x = (slice(max(0, int(c - reach)), int(c + reach) + 2) for c in spot)
    return not scene.labels[y, x].any() and bool(scene.valid[y, x].mean() > 0.5)
