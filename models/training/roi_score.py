"""How good contours of ROIs are."""

from __future__ import annotations

import torch
from torch import Tensor

_INSIDE = 0.5


def roi_scores(found: Tensor, truth: Tensor) -> dict[str, float]:
    """Overlap and position of masks.

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
    """Centre of mass (N, 2) in cells: first moments over the zeroth (Su et al. 2024, eqs 2-5)."""
    total = image.sum((1, 2, 3)).clamp_min(1e-6)
    y = torch.arange(image.shape[-2], dtype=image.dtype)
    x = torch.arange(image.shape[-1], dtype=image.dtype)
    cy = (image.sum((1, 3)) @ y) / total
    cx = (image.sum((1, 2)) @ x) / total
    return torch.stack([cy, cx], dim=1)


def _mean(values: Tensor) -> float:
    return float(values.mean()) if len(values) else 0.0
