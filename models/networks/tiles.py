"""The generator on frames of any size: large ones in overlapping tiles."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from .generator import STRIDE, Generator

_AT_A_TIME = 2**20  # cells; more at once is not faster, and needs gigabytes
_LAYOUT = torch.channels_last


def reach(generator: Generator) -> int:
    """How far, in cells, what a cell becomes depends on its neighbours; a multiple of 8."""
    # Two 3 x 3 convolutions per block at 1/8 of the resolution; the rest reaches 4 of such cells.
    return STRIDE * (2 * len(generator.blocks) + 4)


def masks_of(generator: Generator, images: Tensor, tile: int) -> tuple[Tensor, Tensor]:
    """Masks of images, in tiles where they are large.

    Tiles overlap by as much as the generator sees, and only their inner parts are used: the mask
    is that of the whole image. The features are means over the tiles.

    Parameters
    ----------
    generator : ready for inference. images : (B, 1, H, W) float32, see `frame_input`.
    tile : side of the largest image that the generator gets, cells.

    Returns
    -------
    masks : (B, 1, H, W) float32, probability. features : (B, 2 C) float32.
    """
    height, width = images.shape[-2:]
    if max(height, width) > tile:
        return _tiled(generator, images, tile)
    some = max(1, _AT_A_TIME // (height * width))
    parts = [_translated(generator, part) for part in images.split(some)]
    if len(parts) == 1:
        return parts[0]
    return torch.cat([mask for mask, _ in parts]), torch.cat([seen for _, seen in parts])


def _translated(generator: Generator, images: Tensor) -> tuple[Tensor, Tensor]:
    height, width = images.shape[-2:]
    # too small to be reflected at its rim
    amount = (0, max(STRIDE - width, 0), 0, max(STRIDE - height, 0))
    x = pad(images, amount) if any(amount) else images
    kind = generator.head.weight.dtype
    logits, features = generator.translate(x.to(kind).contiguous(memory_format=_LAYOUT))
    return logits[..., :height, :width].float().sigmoid_(), features.float()


def _tiled(generator: Generator, images: Tensor, tile: int) -> tuple[Tensor, Tensor]:
    masks, margin = torch.empty_like(images), reach(generator)
    seen, total = [], 0
    for y0, y1 in _spans(images.shape[-2], tile, margin):
        for x0, x1 in _spans(images.shape[-1], tile, margin):
            top, left = max(0, y0 - margin), max(0, x0 - margin)
            part = images[..., top : y1 + margin, left : x1 + margin]
            mask, features = _translated(generator, part)
            masks[..., y0:y1, x0:x1] = mask[..., y0 - top : y1 - top, x0 - left : x1 - left]
            area = (y1 - y0) * (x1 - x0)
            seen.append(features * area)
            total += area
    return masks, torch.stack(seen).sum(0) / total


def _spans(size: int, tile: int, margin: int) -> list[tuple[int, int]]:
    """Inner parts of tiles along one axis; each begins where the generator's grid does."""
    inner = max(STRIDE, (tile - 2 * margin) // STRIDE * STRIDE)
    starts = range(0, size, inner) if size > tile else [0]
    return [(start, min(start + inner, size) if size > tile else size) for start in starts]
