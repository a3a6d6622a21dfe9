"""One U-net of the Dual U-net."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d

UNET_DOWNS = 4


class UNet(nn.Module):
    """A U-net as Su et al. 2024 count it (section 2.2.1).

    Four stride-2 down-samplings, four interpolating up-samplings, eighteen 3 x 3 convolutions (two
    on each of five levels on the way down, two on each of four on the way up) and one fully
    connected layer that acts on each pixel, i.e. a 1 x 1 convolution. Skip connections and the two
    convolutions per level are those of Ronneberger et al. 2015 (doi 10.1007/978-3-319-24574-4_28).
    Batch normalisation, so that the output of an image does not depend on its batch; it is folded
    into the convolutions for inference (`folded`).

    Parameters
    ----------
    width : channels at full resolution; doubled with each down-sampling.
    """

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        widths = [width * 2**k for k in range(UNET_DOWNS + 1)]
        self.down = nn.ModuleList(
            _pair(before, after) for before, after in zip([1, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(
            _pair(3 * widths[k], widths[k]) for k in reversed(range(UNET_DOWNS))
        )
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Map images to images.

        Parameters
        ----------
        image : (B, 1, S, S'); sides are multiples of 16.

        Returns
        -------
        (B, 1, S, S'), unbounded.
        """
        kept: list[Tensor] = []
        x = image
        for level, pair in enumerate(self.down):
            x = pair(max_pool2d(x, 2) if level else x)
            kept.append(x)
        kept.pop()
        for pair in self.up:
            wide = interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = pair(torch.cat([kept.pop(), wide], dim=1))
        return self.head(x)


def _pair(before: int, after: int) -> nn.Sequential:
    """Two 3 x 3 convolutions, each normalised and rectified."""
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
        nn.Conv2d(after, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )
