"""How good masks of whole frames are: particle by particle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import center_of_mass, label
from torch import Tensor

from .frame_set import IGNORED

_LEAST_CELLS = 8
_IOU = 0.5
_OPEN = 0.5  # share of a mask on ignored cells from which it is neither right nor wrong


@dataclass(slots=True)
class _Tally:
    hits: int = 0
    found: int = 0
    truths: int = 0
    overlap: float = 0.0
    off: list[float] | None = None


def frame_scores(found: Tensor, mask: Tensor, threshold: float = 0.5) -> dict[str, float]:
    """Precision, recall and position of the particles of many crops.

    Connected regions of the mask are particles, which is why touching ones need a seam.

    Parameters
    ----------
    found : (N, 1, S, S) float32, probability of the mask.
    mask : (N, 1, S, S) uint8, see `FrameSet`.
    threshold : of the probability.

    Returns
    -------
    f1 : harmonic mean of precision and recall at an IoU of 0.5. precision, recall : its parts.
    iou : mean IoU of the matched ones. centre : median distance of their centres, cells.
    """
    tally = _Tally(off=[])
    for one, truth in zip(found[:, 0].numpy(), mask[:, 0].numpy(), strict=True):
        _count(tally, one > threshold, truth)
    precision = tally.hits / max(tally.found, 1)
    recall = tally.hits / max(tally.truths, 1)
    return {
        "f1": 2 * tally.hits / max(tally.found + tally.truths, 1),
        "precision": precision,
        "recall": recall,
        "iou": tally.overlap / max(tally.hits, 1),
        "centre": float(np.median(tally.off)) if tally.off else float("nan"),
    }


def _count(tally: _Tally, found: NDArray[np.bool_], truth: NDArray[np.uint8]) -> None:
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
