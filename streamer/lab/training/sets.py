"""Sets of images with their targets, random batches of them, and scores on those held out."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import center_of_mass, label
from torch import Tensor
from torch.nn.functional import max_pool2d

IGNORED = 255
"""Value of mask cells that no loss and no score counts."""
_SEAM = 5  # cells; wider gaps are no seams; by eye
_SEAM_WEIGHT = 8.0  # beside the weight 1 of all cells; that of Ronneberger et al. is 10
_LEAST_CELLS = 8  # smaller regions are noise; by eye
_IOU = 0.5  # a match, as usual (PASCAL VOC, Everingham et al. 2010)
_OPEN = 0.5  # share of a mask on ignored cells from which it is neither right nor wrong
_INSIDE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSet:
    """Crops with their masks; rows belong together.

    Attributes
    ----------
    image : (N, 1, S, S) float16, see `frame_input`.
    mask : (N, 1, S, S) uint8, 1 inside of particles, with a seam of 0 between those that touch, 0
        outside, 255 where there is one that nobody could see.
    """

    image: Tensor
    mask: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class RoiSet:
    """ROIs with their targets; rows belong together.

    Attributes
    ----------
    roi : (N, 1, 64, 64) float16, standardised, see `roi_input`.
    clean : (N, 1, 64, 64) float16, the particle alone, 0 outside, about 1 where it is thickest.
    mask : (N, 1, 64, 64) uint8, silhouette of the particle in the middle; empty if there is none.
    weight : (N, 1, 1, 1) float32, 0 for particles that nobody could see.
    """

    roi: Tensor
    clean: Tensor
    mask: Tensor
    weight: Tensor


def target_and_weight(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Turn a mask into a target and the weight of each cell.

    Cells of the seams between touching particles count as much as nine others: they are few, but
    without them two particles become one (the weight map of Ronneberger et al. 2015, doi
    10.1007/978-3-319-24574-4_28, with a closing in place of distances).

    Parameters
    ----------
    mask : (B, 1, S, S), see `FrameSet`.

    Returns
    -------
    target : (B, 1, S, S) float32, 0 or 1.
    weight : (B, 1, S, S) float32, 0 where nothing counts.
    """
    known = (mask != IGNORED).float()
    target = torch.where(mask == 1, 1.0, 0.0)
    wide = max_pool2d(target, _SEAM, 1, _SEAM // 2)
    closed = -max_pool2d(-wide, _SEAM, 1, _SEAM // 2)
    return target, known * (1 + _SEAM_WEIGHT * closed * (1 - target))


# Random batches of a training set, turned and mirrored.


class Batches:
    """Draw endless random batches; every image of a set comes once before any comes again.

    Parameters
    ----------
    arrays : (N, ...) tensors whose rows belong together; images are (N, 1, S, S).
    size : images per batch.
    seed : of the order and the turns.
    device : where batches are put.
    """

    def __init__(
        self, arrays: tuple[Tensor, ...], size: int, seed: int, device: torch.device
    ) -> None:
        if not arrays or not len(arrays[0]):
            raise ValueError("training set: got no images; make a larger set")
        self._arrays, self._size, self._device = arrays, size, device
        self._random = torch.Generator().manual_seed(seed)
        self._order = torch.empty(0, dtype=torch.int64)

    def next(self) -> tuple[Tensor, ...]:
        """Draw a batch of each array; images (B, 1, S, S) float32, all with the same turns."""
        while len(self._order) < self._size:
            further = torch.randperm(len(self._arrays[0]), generator=self._random)
            self._order = torch.cat([self._order, further])
        rows, self._order = self._order[: self._size], self._order[self._size :]
        turn = int(torch.randint(8, (1,), generator=self._random))
        return tuple(
            _turned(array[rows].to(self._device, torch.float32), turn) for array in self._arrays
        )

    def state(self) -> dict[str, Tensor]:
        """Return what `restore` needs."""
        return {"random": self._random.get_state(), "order": self._order}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on with the batch that would have come next."""
        self._random.set_state(state["random"])
        self._order = state["order"]


def _turned(images: Tensor, turn: int) -> Tensor:
    """Turn squares in one of eight ways; whatever is no image stays."""
    if images.ndim < 4:
        return images
    out = torch.rot90(images, turn % 4, (-2, -1))
    return out.flip(-1) if turn >= 4 else out


# Scores of masks, particle by particle.


@dataclass(slots=True)
class _ScoreCounts:
    hits: int = 0
    found: int = 0
    truths: int = 0
    overlap: float = 0.0
    off: list[float] = field(default_factory=list)


def frame_scores(found: Tensor, mask: Tensor) -> dict[str, float]:
    """Measure precision, recall and position of the particles of many crops.

    Connected regions of the mask are particles, which is why touching ones need a seam.

    Parameters
    ----------
    found : (N, 1, S, S) float32, probability of the mask.
    mask : (N, 1, S, S) uint8, see `FrameSet`.

    Returns
    -------
    f1 : harmonic mean of precision and recall at an IoU of 0.5. precision, recall : its parts.
    iou : mean IoU of the matched ones. centre : median distance of their centres, cells.
    """
    tally = _ScoreCounts()
    for one, truth in zip(found[:, 0].numpy(), mask[:, 0].numpy(), strict=True):
        _count(tally, one > _INSIDE, truth)
    precision = tally.hits / max(tally.found, 1)
    recall = tally.hits / max(tally.truths, 1)
    return {
        "f1": 2 * tally.hits / max(tally.found + tally.truths, 1),
        "precision": precision,
        "recall": recall,
        "iou": tally.overlap / max(tally.hits, 1),
        "centre": float(np.median(tally.off)) if tally.off else float("nan"),
    }


def _count(tally: _ScoreCounts, found: NDArray[np.bool_], truth: NDArray[np.uint8]) -> None:
    mine, n = _labels(found)
    real, m = _labels(truth == 1)
    sizes = np.bincount(mine.ravel(), minlength=n + 1)[1:]
    real_sizes = np.bincount(real.ravel(), minlength=m + 1)[1:]
    on_open = np.bincount(mine[truth == IGNORED], minlength=n + 1)[1:] / np.maximum(sizes, 1)
    judged = (sizes >= _LEAST_CELLS) & (on_open < _OPEN)
    wanted = real_sizes >= _LEAST_CELLS
    both = np.bincount((real * (n + 1) + mine).ravel(), minlength=(m + 1) * (n + 1))
    shared = both.reshape(m + 1, n + 1)[1:, 1:]
    iou = shared / np.maximum(real_sizes[:, None] + sizes[None] - shared, 1)
    # above one half, no region can belong to two
    rows, columns = np.nonzero((iou > _IOU) & wanted[:, None])
    tally.found += int(judged.sum())
    tally.truths += int(wanted.sum())
    tally.hits += len(rows)
    tally.found += int((~judged[columns]).sum())
    tally.overlap += float(iou[rows, columns].sum())
    if len(rows) and tally.off is not None:
        here = np.array(center_of_mass(found, mine, columns + 1))
        there = np.array(center_of_mass(truth == 1, real, rows + 1))
        tally.off += np.linalg.norm(here - there, axis=1).tolist()


def _labels(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    labels = np.zeros(mask.shape, np.int32)
    return labels, int(label(mask, output=labels))  # pyright: ignore[reportArgumentType]


# How good contours of ROIs are.


def roi_scores(found: Tensor, truth: Tensor) -> dict[str, float]:
    """Measure overlap and position of masks.

    Parameters
    ----------
    found : (N, 1, S, S) float32, probability of the mask.
    truth : (N, 1, S, S), 1 inside; empty where there is no particle.

    Returns
    -------
    quality : mean over all ROIs of the intersection over union; an empty ROI counts as one if
        nothing is found in it, else as zero.
    iou : mean intersection over union where there is a particle.
    hit : share of these with an IoU of at least 0.5.
    false : share of the empty ROIs in which a mask of more than 1 % of the cells is found.
    centre : median distance between the centres of mass of found and true masks, cells; NaN if
        there are none to compare.
    """
    truth = truth.to(torch.float32)
    inside = (found > _INSIDE).to(torch.float32)
    both = (inside * truth).sum((1, 2, 3))
    either = torch.maximum(inside, truth).sum((1, 2, 3))
    there = truth.sum((1, 2, 3)) > 0
    iou = (both / either.clamp_min(1.0))[there]
    extra = inside.mean((1, 2, 3))[~there] > 0.01
    seen = there & (inside.sum((1, 2, 3)) > 0)
    off = (_centre(found * inside)[seen] - _centre(truth)[seen]).norm(dim=1)
    return {
        "quality": _mean(torch.cat([iou, (~extra).float()])),
        "iou": _mean(iou),
        "hit": _mean((iou >= 0.5).float()),
        "false": _mean(extra.float()),
        "centre": float(off.median()) if len(off) else float("nan"),
    }


def _centre(image: Tensor) -> Tensor:
    """Compute the centre of mass (N, 2), cells, from moments (Su et al. 2024, eqs 2-5)."""
    total = image.sum((1, 2, 3)).clamp_min(1e-6)
    y = torch.arange(image.shape[-2], dtype=image.dtype)
    x = torch.arange(image.shape[-1], dtype=image.dtype)
    cy = (image.sum((1, 3)) @ y) / total
    cx = (image.sum((1, 2)) @ x) / total
    return torch.stack([cy, cx], dim=1)


def _mean(values: Tensor) -> float:
    return float(values.mean()) if len(values) else 0.0
