"""Crops of frames with the masks of their particles."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

IGNORED = 255
"""Value of mask cells of which anything may be said."""

_SEAM = 5  # cells; wider gaps are no seams
_SEAM_WEIGHT = 8.0


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
    """What is to be found, and how much each cell counts.

    Cells of the seams between touching particles count as much as nine others: they are few, but
    without them two particles become one (the weight map of Ronneberger et al. 2015, doi
    10.1007/978-3-319-24574-4_28, with a closing in place of distances).

    Parameters
    ----------
    mask : (B, 1, S, S), see `FrameSet`.

    Returns
    -------
    target : (B, 1, S, S) float32, 0 or 1.
    weight : (B, 1, S, S) float32, 0 where anything may be said.
    """
    known = (mask != IGNORED).float()
    target = torch.where(mask == 1, 1.0, 0.0)
    wide = max_pool2d(target, _SEAM, 1, _SEAM // 2)
    closed = -max_pool2d(-wide, _SEAM, 1, _SEAM // 2)
    return target, known * (1 + _SEAM_WEIGHT * closed * (1 - target))
