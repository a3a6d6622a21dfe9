"""Networks of Su et al. 2024: the Dual U-net, and the generator of the Cycle-GAN."""

from __future__ import annotations

from copy import deepcopy
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d, pad
from torch.nn.utils.fusion import fuse_conv_bn_eval

UNET_DOWNS = 4
GENERATOR_DOWNS = 3
STRIDE = 2**GENERATOR_DOWNS
"""Sides are padded to multiples of this."""
Network = TypeVar("Network", bound=nn.Module)


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
    """Stack two 3 x 3 convolutions, each normalised and rectified."""
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
        nn.Conv2d(after, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )


# The Dual U-net: a clean particle first, then its contour.


class DualUNet(nn.Module):
    """Two U-nets of the same structure in cascade (Su et al. 2024, section 2.2.1).

    The first takes noise and background away from the ROI of one particle; the second draws the
    single contour of the particle in the middle of it. How the two are joined is not published;
    a cascade with a loss on each output is the choice made here: what the second sees is the
    output of the first alone.

    Parameters
    ----------
    width : channels of both at full resolution.
    """

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.clean = UNet(width)
        self.contour = UNet(width)

    def forward(self, roi: Tensor) -> tuple[Tensor, Tensor]:
        """Clean ROIs and draw their contours.

        Parameters
        ----------
        roi : (B, 1, S, S) standardised ROIs, see `operando.models.networks.inputs.roi_input`;
            S is a multiple of 16.

        Returns
        -------
        clean : (B, 1, S, S) the particle alone, 0 outside, about 1 where it is thickest.
        logits : (B, 1, S, S) of the mask; above 0 is inside.
        """
        clean = self.clean(roi)
        return clean, self.contour(clean)


# The generators of the Cycle-GAN.


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
        """Translate images, with features of the bottleneck.

        Returns
        -------
        image : (B, 1, H, W), see `forward`.
        features : (B, 2 C) mean and rms of the bottleneck's channels, to compare a frame
            with those of the training.
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


# Networks made ready for inference.


def folded(network: Network, device: torch.device, *, half: bool) -> Network:
    """Copy for inference: normalisation folded into the convolutions, channels last.

    Parameters
    ----------
    network : a trained network.
    device : where it shall run.
    half : compute in bfloat16.

    Returns
    -------
    The copy; it computes in bfloat16 or float32 and cannot be trained any more.
    """
    copy = deepcopy(network).eval().requires_grad_(requires_grad=False)
    for module in copy.modules():
        if isinstance(module, nn.Sequential):
            _fold(module)
    kind = torch.bfloat16 if half else torch.float32
    copy = copy.to(device=device, dtype=kind)
    # torch's stubs do not know that a module takes a memory format
    return copy.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def _fold(layers: nn.Sequential) -> None:
    for i, (first, second) in enumerate(zip(list(layers), list(layers)[1:], strict=False)):
        if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
            layers[i] = fuse_conv_bn_eval(first, second)
            layers[i + 1] = nn.Identity()


def half_pays(device: torch.device) -> bool:
    """Return True if this machine computes convolutions in bfloat16 faster than in float32.

    CUDA devices from Ampere on, and CPUs with matrix or vector instructions for bfloat16; others
    only emulate it.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001 - no public question
