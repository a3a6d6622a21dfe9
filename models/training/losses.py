"""Losses of masks and of clean images."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

_CERTAIN = 1e-6  # probabilities are taken to be this far from 0 and 1
_SMOOTH = 1.0  # cells; keeps the overlap defined where there is no particle


def mask_loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Cross entropy of each cell plus one minus the soft Dice overlap of each image.

    Milletari et al. 2016 (doi 10.1109/3DV.2016.79) for the overlap, with squares in its
    denominator.

    Parameters
    ----------
    logits, target : (B, 1, H, W) float32; targets 0..1.
    weight : (B, 1, H, W) or (B, 1, 1, 1) float32, 0 where anything may be said.

    Returns
    -------
    () float32.
    """
    weight = weight.expand_as(target)
    entropy = cross_entropy(logits, target, weight=weight, reduction="sum")
    entropy = entropy / weight.sum().clamp_min(1.0)
    inside = logits.sigmoid() * weight
    both = (inside * target).sum((1, 2, 3))
    each = (inside.square() + (target * weight).square()).sum((1, 2, 3))
    dice = (2 * both + _SMOOTH) / (each + _SMOOTH)
    return entropy + (1 - dice).mean()


def held_out_loss(found: Tensor, target: Tensor, weight: Tensor) -> float:
    """`mask_loss` of probabilities instead of logits."""
    return float(mask_loss(found.logit(_CERTAIN), target, weight))


def clean_loss(clean: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute difference from the particle alone.

    Parameters
    ----------
    clean, target : (B, 1, H, W) float32.
    weight : (B, 1, 1, 1) float32, 0 where anything may be said.
    """
    weight = weight.expand_as(target)
    return ((clean - target).abs() * weight).sum() / weight.sum().clamp_min(1.0)
