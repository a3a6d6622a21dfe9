"""Small training sets: bright discs on noise."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from operando.streamer.lab.training.sets import FrameSet, RoiSet

CPU = torch.device("cpu")


def discs(count: int, side: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images (N, 1, S, S) float16 and masks uint8 of one disc each."""
    random = torch.Generator().manual_seed(seed)
    at = torch.arange(side, dtype=torch.float32)
    centre = side / 2 + 4 * (torch.rand((count, 2), generator=random) - 0.5)
    radius = side * (0.15 + 0.1 * torch.rand(count, generator=random))
    y = at[None, :, None] - centre[:, :1, None]
    x = at[None, None, :] - centre[:, 1:, None]
    mask = (torch.hypot(y, x) < radius[:, None, None])[:, None]
    image = 0.6 * mask + 0.1 * torch.randn((count, 1, side, side), generator=random)
    return image.half(), mask.to(torch.uint8)


@pytest.fixture
def frame_sets() -> tuple[FrameSet, FrameSet]:
    """To train on, and to score on."""
    made = [FrameSet(image=i, mask=m) for i, m in (discs(24, 32, 0), discs(8, 32, 1))]
    return made[0], made[1]


@pytest.fixture
def roi_sets() -> tuple[RoiSet, RoiSet]:
    """To train on, and to score on."""
    sets = []
    for count, seed in ((24, 0), (8, 1)):
        image, mask = discs(count, 32, seed)
        weight = torch.ones(count, 1, 1, 1)
        sets.append(RoiSet(roi=image, clean=mask.half(), mask=mask, weight=weight))
    return sets[0], sets[1]
