"""Search frames for particles: the generator's masks at several resolutions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log2

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from ..arrays import Mask
from ..masks import components
from .inputs import frame_levels
from .nets import STRIDE, Generator

_WIDEST = 60.0  # cells; larger particles are looked for at a coarser resolution
_BEST = (8.0, 50.0)  # diameters that a level sees best, cells
_SMALLEST = 0.6  # of the least diameter
_FEWEST = 6  # cells
_NEAR = 0.3  # distance of two regions that are the same, in diameters of the larger
_ALIKE = 0.65  # ratio of their diameters
_BESIDE, _LIKE = 0.4, 0.35  # the same of two of which the worse is beyond what its level sees best
_AT_A_TIME = 2**20  # cells; more at once is not faster, and needs gigabytes
_LAYOUT = torch.channels_last


@dataclass(frozen=True, slots=True, kw_only=True)
class Regions:
    """N places that may be particles.

    Attributes
    ----------
    owner : (N,) int64, frame.
    yx : (N, 2) float64, centre of mass, px.
    diameter : (N,) float64, of the disc of equal area, px.
    probability : (N,) float64, mean over its cells.
    """

    owner: NDArray[np.int64]
    yx: NDArray[np.float64]
    diameter: NDArray[np.float64]
    probability: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.owner)

    def pick(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> Regions:
        """Return some of them."""
        return Regions(
            owner=self.owner[which],
            yx=self.yx[which],
            diameter=self.diameter[which],
            probability=self.probability[which],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameFeatures:
    """Features of B frames at the finest level, to detect unusual ones.

    Attributes
    ----------
    features : (B, 2 C) float32, see `Generator.translate`.
    spread : (B,) float32, standard deviation of the input of the generator.
    """

    features: Tensor
    spread: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Find regions at several resolutions.

    Attributes
    ----------
    generator : ready for inference. threshold : of its probability.
    step : of the finest level, px per cell. least, most : diameters of particles, px.
    tile : side of the largest image that the generator gets, cells.
    """

    generator: Generator
    threshold: float
    step: int
    least: float
    most: float
    tile: int

    @property
    def levels(self) -> int:
        """Return how many resolutions, each half the one before, the largest particles need."""
        return 1 + max(0, ceil(log2(self.most / (self.step * _WIDEST))))

    def __call__(self, od: Tensor, valid: Tensor) -> tuple[Regions, FrameFeatures]:
        """Look for particles.

        Parameters
        ----------
        od : (B, 1, H, W) float32. valid : (B, 1, H, W) bool.

        Returns
        -------
        regions : of all frames, in the order of the frames.
        features : of the frames.
        """
        images = frame_levels(od, valid, self.step, self.levels)
        seen = [masks_of(self.generator, image, self.tile) for image in images]
        sizes = [mask[0].numel() for mask, _ in seen]
        # All that leaves the device, at once: a byte per cell.
        flat = torch.cat([(mask * 255).to(torch.uint8).flatten(1) for mask, _ in seen], 1).cpu()
        levels: list[Regions] = []
        for level, part in enumerate(flat.split(sizes, dim=1)):
            shape = images[level].shape[-2:]
            levels.append(self._regions(part.numpy().reshape(-1, *shape), self.step * 2**level))
        features = FrameFeatures(
            features=seen[0][1], spread=images[0].flatten(1).std(dim=1, correction=0)
        )
        return merged(levels, [self.step * 2**level for level in range(len(levels))]), features

    def _regions(self, masks: NDArray[np.uint8], step: int) -> Regions:
        """Find the connected regions of one level."""
        limit = self.threshold * 255
        area = np.pi / 4 * (_SMALLEST * self.least / step) ** 2
        parts = [_measured(mask, mask > limit, step, max(area, _FEWEST)) for mask in masks]
        owner = np.repeat(np.arange(len(parts), dtype=np.int64), [len(p) for p in parts])
        table = np.concatenate([np.zeros((0, 4)), *parts])
        found = Regions(owner=owner, yx=table[:, :2], diameter=table[:, 2], probability=table[:, 3])
        return found.pick(found.diameter < 1.5 * self.most)


def _measured(
    mask: NDArray[np.uint8], inside: Mask, step: int, least: float
) -> NDArray[np.float64]:
    """Measure centre (y, x) px, diameter px and probability of each connected region, (N, 4)."""
    labels, count = components(inside)
    at = np.flatnonzero(inside)
    label = labels.take(at)
    area = np.bincount(label, minlength=count + 1)[1:].astype(np.float64)
    number = np.maximum(area, 1)
    y, x, p = (
        np.bincount(label, weight, minlength=count + 1)[1:] / number
        for weight in (at // mask.shape[1], at % mask.shape[1], mask.take(at) / 255)
    )
    middle = (np.stack([y, x], 1) + 0.5) * step - 0.5
    diameter = 2 * step * np.sqrt(area / np.pi)
    return np.column_stack([middle, diameter, p])[area >= least]


def merged(levels: Sequence[Regions], steps: Sequence[int]) -> Regions:
    """Merge what several levels found.

    Of two that are the same, that of the level for which it has the better size is kept; the
    finer one, if both are as good. What differs, such as a particle and its halves, is kept for
    the contours to decide.

    Parameters
    ----------
    levels : regions per level, finest first. steps : px per cell of each.
    """
    everything = Regions(
        owner=np.concatenate([r.owner for r in levels]),
        yx=np.concatenate([r.yx for r in levels]),
        diameter=np.concatenate([r.diameter for r in levels]),
        probability=np.concatenate([r.probability for r in levels]),
    )
    cells = everything.diameter / np.repeat(steps, [len(r) for r in levels])
    low, high = _BEST
    badness = np.maximum(np.maximum(low / cells, cells / high), 1.0)
    order = np.lexsort((np.arange(len(cells)), badness, everything.owner))
    sorted_ = everything.pick(order)
    larger = np.maximum.outer(sorted_.diameter, sorted_.diameter)
    smaller = np.minimum.outer(sorted_.diameter, sorted_.diameter)
    apart = np.hypot(*(sorted_.yx[:, None] - sorted_.yx[None]).transpose(2, 0, 1))
    same = (apart < _NEAR * larger) & (smaller > _ALIKE * larger)
    # what a level sees badly is not where it seems to be, nor of that size
    same |= (badness[order] > 1) & (apart < _BESIDE * larger) & (smaller > _LIKE * larger)
    same &= sorted_.owner[:, None] == sorted_.owner[None]
    keep = np.ones(len(order), bool)
    for i in range(len(order)):
        if keep[i]:
            keep[i + 1 :] &= ~same[i, i + 1 :]
    return sorted_.pick(keep)


# The generator on frames of any size: large ones in overlapping tiles.


def reach(generator: Generator) -> int:
    """Return how far, in cells, neighbours of a cell influence it; a multiple of 8."""
    # Two 3 x 3 convolutions per block at 1/8 of the resolution; the rest reaches 4 of such cells.
    return STRIDE * (2 * len(generator.blocks) + 4)


def masks_of(generator: Generator, images: Tensor, tile: int) -> tuple[Tensor, Tensor]:
    """Compute masks of images, in tiles where they are large.

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
    """Return inner parts of tiles along one axis; each begins where the generator's grid does."""
    inner = max(STRIDE, (tile - 2 * margin) // STRIDE * STRIDE)
    starts = range(0, size, inner) if size > tile else [0]
    return [(start, min(start + inner, size) if size > tile else size) for start in starts]
