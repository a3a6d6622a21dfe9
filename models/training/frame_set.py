"""Crops of frames with the masks of their particles."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

IGNORED = 255
"""Value of mask cells of which anything may be said."""


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


def target_and_weight(mask: Tensor) -> tuple[Tensor, Tensor]:
    """What is to be found (0 or 1), and where that counts (0 or 1), float32."""
    known = mask != IGNORED
    return torch.where(known, mask, torch.zeros_like(mask)).float(), known.float()
