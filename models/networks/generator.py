"""The generators of the Cycle-GAN."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

GENERATOR_DOWNS = 3
STRIDE = 2**GENERATOR_DOWNS
"""Sides are padded to multiples of this."""


class Generator(nn.Module):
    """Frames to masks, or masks to frames; fully convolutional, for frames of any size.

    Down-sampling, residual blocks and up-sampling as in Zhu et al. 2017 (doi
    10.1109/ICCV.2017.244), made small: three down-samplings, so that the largest particles are
    seen whole, interpolation in place of transposed convolutions (no chequered pattern), and skip
    connections, so that rims stay where they are. Batch in place of instance normalisation: what
    is seen in one corner of a frame must not depend on what is in the others, nor on tiling.

    Parameters
    ----------
    width : channels at full resolution.
    blocks : residual blocks at the lowest resolution.
    """

    def __init__(self, width: int = 12, blocks: int = 4) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 6 * width]
        self.stem = _convolution(1, width)
        self.down = nn.ModuleList(_convolution(a, b, stride=2) for a, b in pairwise(widths))
        self.blocks = nn.ModuleList(_Residual(widths[-1]) for _ in range(blocks))
        self.up = nn.ModuleList(
            _convolution(a + b, b) for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """Translate images from one domain to the other.

        Parameters
        ----------
        image : (B, 1, H, W), -1..1.

        Returns
        -------
        (B, 1, H, W), unbounded: logits of a mask, or a frame before its ``tanh``.
        """
        return self.translate(image)[0]

    def translate(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Translate images, and tell what they look like in the bottleneck.

        Returns
        -------
        image : (B, 1, H, W), see `forward`.
        features : (B, 2 C) mean and rms of the bottleneck's channels, for telling whether a frame
            is like those of the training.
        """
        height, width = image.shape[-2:]
        amount = (0, -width % STRIDE, 0, -height % STRIDE)
        x = pad(image, amount, mode="reflect") if any(amount) else image
        x = self.stem(x)
        kept = [x]
        for layer in self.down:
            x = layer(x)
            kept.append(x)
        kept.pop()
        for block in self.blocks:
            x = block(x)
        features = torch.cat([x.mean((2, 3)), x.square().mean((2, 3)).sqrt()], dim=1)
        for layer in self.up:
            wide = interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = layer(torch.cat([wide, kept.pop()], dim=1))
        return self.head(x)[..., :height, :width], features


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _convolution(width, width)
        self.second = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x))


def _convolution(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )
