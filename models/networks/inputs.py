"""Inputs of the networks, the same for training and for inference."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

ROI_CELLS = 64  # sides of the ROIs of the Dual U-net
ROI_SIDE = 2.0
"""Side of the ROI of a particle, in units of its equal-area diameter."""

# The shipped weights were trained with these: they change with the weights only.
_SOFT = 0.1  # OD around which the scale turns from linear to logarithmic; by eye
_FULL = 4.0  # asinh of the densest particles over _SOFT: asinh(2.7 / 0.1)
_FEWEST = 0.25  # valid share from which a cell counts; by eye
_LEAST_SPREAD = 1e-3  # OD, no detector resolves less


def frame_input(od: Tensor, valid: Tensor, step: int) -> Tensor:
    """Prepare frames for the generator.

    Means over cells of ``step`` x ``step`` px, less the median of each frame, on a scale that is
    linear around zero and logarithmic beyond 0.1 OD, so that faint particles are not lost beside
    dense ones.

    Parameters
    ----------
    od : (B, 1, H, W) float32, optical density.
    valid : (B, 1, H, W) bool, pixels that may be used.
    step : px per cell.

    Returns
    -------
    (B, 1, ceil(H / step), ceil(W / step)) float32 in -1..1; 0, the median, where nothing is valid.
    """
    return frame_levels(od, valid, step, 1)[0]


def frame_levels(od: Tensor, valid: Tensor, step: int, levels: int) -> list[Tensor]:
    """Compute `frame_input` with ``step``, ``2 * step``, ``4 * step``, ... px; finest first."""
    share, total = _sums(od, valid, step)
    found = []
    for level in range(levels):
        if level:
            share, total = _coarser(share, 2), _coarser(total, 2)
        found.append(_compressed(*_ratio(share, total)))
    return found


def _compressed(value: Tensor, usable: Tensor) -> Tensor:
    flat = value.masked_fill(~usable, math.nan).flatten(1)
    middle = flat.nanmedian(dim=1).values.nan_to_num(0.0)[:, None, None, None]
    scaled = _asinh((value - middle).div_(_SOFT)).div_(_FULL).clamp_(-1, 1)
    return scaled.masked_fill_(~usable, 0.0)


def _asinh(x: Tensor) -> Tensor:
    """Compute by logarithms, which a CPU computes ten times faster."""
    size = x.abs()
    return size.add_((size * size).add_(1.0).sqrt_()).log_().copysign_(x)


def cells(od: Tensor, valid: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """Average over the valid pixels of each cell of ``step`` x ``step`` px.

    Returns
    -------
    (B, 1, h, w) float32 means (0 where too few pixels are valid), and bool where they exist.
    """
    return _ratio(*_sums(od, valid, step))


def _sums(od: Tensor, valid: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """Return the valid share of each cell, and the sum of these pixels over their full number."""
    kept = torch.where(valid, od, od.new_zeros(()))
    return _coarser(valid.to(od.dtype), step), _coarser(kept, step)


def _ratio(share: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
    usable = share >= _FEWEST
    return torch.where(usable, total / share.clamp_min(_FEWEST), total.new_zeros(())), usable


def _coarser(image: Tensor, step: int) -> Tensor:
    """Average over cells; nothing is beyond the image."""
    if step == 1:
        return image
    height, width = image.shape[-2:]
    amount = (0, -width % step, 0, -height % step)
    return _mean(pad(image, amount) if any(amount) else image, step)


def _mean(image: Tensor, step: int) -> Tensor:
    """Average over cells by strided sums; several times faster on a CPU than pooling."""
    while step % 2 == 0:
        rows = image[..., ::2, :] + image[..., 1::2, :]
        image = (rows[..., ::2] + rows[..., 1::2]).mul_(0.25)
        step //= 2
    if step == 1:
        return image
    rows = sum((image[..., k::step, :] for k in range(1, step)), image[..., ::step, :])
    total = sum((rows[..., k::step] for k in range(1, step)), rows[..., ::step])
    return total / step**2


def roi_sides(diameter: Tensor) -> Tensor:
    """Return sides of the windows of particles, px, from their equal-area diameters, px."""
    return diameter * ROI_SIDE


def sample_windows(images: Tensor, owner: Tensor, centres: Tensor, sides: Tensor) -> Tensor:
    """Cut square windows of images, resampled to 64 x 64 cells by bilinear interpolation.

    Cells larger than a pixel are means over the pixels of the coarsest power of two that is not
    larger than the cell, so that nothing is aliased. What a window shows does not depend on the
    others, bit for bit.

    Parameters
    ----------
    images : (B, C, H, W) float32; 0 beyond.
    owner : (N,) int64, the image of each window.
    centres : (N, 2) float32, (y, x), px, pixel centres.
    sides : (N,) float32, px.

    Returns
    -------
    (N, C, 64, 64) float32.
    """
    channels = images.shape[1]
    if not len(centres):
        return images.new_zeros((0, channels, ROI_CELLS, ROI_CELLS))
    power = (sides / ROI_CELLS).log2().floor().clamp_min(0).to(torch.int64)
    flat, sizes, starts = _pyramid(images, int(power.max()))
    step = (2**power)[:, None]
    cell = (torch.arange(ROI_CELLS, device=centres.device) + 0.5) / ROI_CELLS - 0.5
    begin = starts[power] + owner * sizes[power].prod(1)
    taps = []
    for axis in (0, 1):
        place = (centres[:, axis, None] + 0.5 + cell * sides[:, None]) / step - 0.5
        taps.append(_taps(place, sizes[power, axis][:, None]))
    width = sizes[power, 1]
    total = flat.new_zeros((channels, len(centres), ROI_CELLS, ROI_CELLS))
    for row, down in taps[0]:
        at = (begin[:, None] + row * width[:, None])[:, :, None]
        for column, across in taps[1]:
            found = flat.index_select(1, (at + column[:, None, :]).flatten()).view_as(total)
            total.addcmul_(found, down[:, :, None] * across[:, None, :])
    return total.transpose(0, 1)


def _pyramid(images: Tensor, top: int) -> tuple[Tensor, Tensor, Tensor]:
    """Make images at halved resolutions, one after the other.

    Returns
    -------
    flat : (C, T) all cells. sizes : (top + 1, 2) int64, (h, w). starts : (top + 1,) int64.
    """
    levels = [images]
    for _ in range(top):
        levels.append(_coarser(levels[-1], 2))
    device = images.device
    sizes = torch.tensor([level.shape[-2:] for level in levels], device=device)
    counts = torch.tensor([level[:, 0].numel() for level in levels], device=device)
    flat = torch.cat([level.transpose(0, 1).flatten(1) for level in levels], dim=1)
    return flat, sizes, counts.cumsum(0) - counts


def _taps(place: Tensor, size: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Find cells below and above a place, (N, 64) int64, and their weights; 0 outside the image."""
    low = place.floor()
    high = place - low
    found = []
    for index, weight in ((low, 1 - high), (low + 1, high)):
        inside = (index >= 0) & (index < size)
        found.append((index.to(torch.int64).clamp_min(0).minimum(size - 1), weight * inside))
    return found


def roi_input(
    od: Tensor, valid: Tensor, owner: Tensor, centres: Tensor, sides: Tensor
) -> tuple[Tensor, Tensor]:
    """Prepare ROIs for the Dual U-net: standardised, of one size.

    Zero mean and unit standard deviation over the valid cells, so that neither the contrast nor
    its change over an absorption edge matters.

    Parameters
    ----------
    od : (B, 1, H, W) float32, optical density.
    valid : (B, 1, H, W) bool, pixels that may be used.
    owner, centres, sides : see `sample_windows`.

    Returns
    -------
    roi : (N, 1, 64, 64) float32; 0 where nothing is valid.
    usable : (N, 1, 64, 64) bool, cells that show valid pixels of the frame.
    """
    value, usable = roi_values(od, valid, owner, centres, sides)
    return standardised(value, usable), usable


def roi_values(
    od: Tensor, valid: Tensor, owner: Tensor, centres: Tensor, sides: Tensor
) -> tuple[Tensor, Tensor]:
    """Sample optical density in ROIs, and where it is known; arguments as of `roi_input`.

    Returns
    -------
    value : (N, 1, 64, 64) float32, OD; 0 where nothing is valid.
    usable : (N, 1, 64, 64) bool.
    """
    seen = od.new_empty((len(od), 2, *od.shape[-2:]))
    torch.where(valid, od, od.new_zeros(()), out=seen[:, :1])
    seen[:, 1:] = valid
    both = sample_windows(seen, owner, centres, sides)
    value, share = both[:, :1], both[:, 1:]
    usable = share > 0.5
    return torch.where(usable, value / share.clamp_min(0.5), value.new_zeros(())), usable


def standardised(value: Tensor, usable: Tensor) -> Tensor:
    """Scale to zero mean and unit standard deviation over the usable cells, (N, 1, 64, 64)."""
    weight = usable.to(value.dtype)
    count = weight.sum((1, 2, 3), keepdim=True).clamp_min(1.0)
    mean = value.sum((1, 2, 3), keepdim=True) / count
    centred = (value - mean) * weight
    spread = (centred.square().sum((1, 2, 3), keepdim=True) / count).sqrt()
    return centred / spread.clamp_min(_LEAST_SPREAD)
