"""Networks made ready for inference."""

from __future__ import annotations

from copy import deepcopy
from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Network = TypeVar("Network", bound=nn.Module)


def folded(network: Network, device: torch.device, *, half: bool) -> Network:
    """A copy for inference: normalisation folded into the convolutions, channels last.

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
    """Whether this machine computes convolutions in bfloat16 faster than in float32.

    CUDA devices from Ampere on, and CPUs with matrix or vector instructions for bfloat16; others
    only emulate it.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001 - no public question
