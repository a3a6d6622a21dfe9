"""What the networks see: the same for training and for inference."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, pad

ROI_CELLS = 64
ROI_SIDE = 2.0
"""Side of the ROI of a particle, in units of its equal-area diameter."""

_SOFT = 0.1  # OD around which the scale turns from linear to logarithmic
_FULL = 4.0  # asinh of the densest particles over _SOFT
_FEWEST = 0.25  # valid share from which a cell counts
_LEAST_SPREAD = 1e-3


def frame_input(od: Tensor, valid: Tensor, step: int) -> Tensor:
    """Frames as the generator sees them.

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
    """`frame_input` with steps of ``step``, ``2 * step``, ``4 * step``, ...; finest first."""
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
    """By logarithms, which a CPU computes ten times faster."""
    size = x.abs()
    return size.add_((size * size).add_(1.0).sqrt_()).log_().copysign_(x)


def cells(od: Tensor, valid: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """Mean over the valid pixels of each cell of ``step`` x ``step`` px.

    Returns
    -------
    (B, 1, h, w) float32 means (0 where too few pixels are valid), and bool where they exist.
    """
    return _ratio(*_sums(od, valid, step))


def _sums(od: Tensor, valid: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """Share of each cell that is valid, and what these pixels add up to over their full number."""
    kept = torch.where(valid, od, od.new_zeros(()))
    return _coarser(valid.to(od.dtype), step), _coarser(kept, step)


def _ratio(share: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
    usable = share >= _FEWEST
    return torch.where(usable, total / share.clamp_min(_FEWEST), total.new_zeros(())), usable


def _coarser(image: Tensor, step: int) -> Tensor:
    """Means over cells; nothing is beyond the image."""
    if step == 1:
        return image
    height, width = image.shape[-2:]
    amount = (0, -width % step, 0, -height % step)
    return _mean(pad(image, amount) if any(amount) else image, step)


def _mean(image: Tensor, step: int) -> Tensor:
    """Mean over cells by strided sums; several times faster on a CPU than pooling or reducing."""
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
    """Sides of the windows of particles, px, from their equal-area diameters, px."""
    return diameter * ROI_SIDE


def sample_windows(
    images: Tensor, owner: Tensor, centres: Tensor, sides: Tensor, mode: str = "bilinear"
) -> Tensor:
    """Square windows of images, resampled to 64 x 64 cells; 0 outside the image.

    Cells larger than a pixel are means over the pixels of the coarsest power of two that is not
    larger than the cell, so that nothing is aliased.

    Parameters
    ----------
    images : (B, 1, H, W) float32.
    owner : (N,) int64, the image of each window.
    centres : (N, 2) float32, (y, x), px, pixel centres.
    sides : (N,) float32, px.
    mode : interpolation.

    Returns
    -------
    (N, 1, 64, 64) float32.
    """
    out = images.new_zeros((len(centres), 1, ROI_CELLS, ROI_CELLS))
    if not len(centres):
        return out
    powers = (sides / ROI_CELLS).log2().floor().clamp_min(0).to(torch.int64)
    for power in powers.unique().tolist():
        rows = torch.nonzero(powers == power)[:, 0]
        step = 2**power
        level = _coarser(images, step)
        out[rows] = _windows(level, owner[rows], centres[rows], sides[rows], step, mode)
    return out


def _windows(
    level: Tensor, owner: Tensor, centres: Tensor, sides: Tensor, step: int, mode: str
) -> Tensor:
    """Windows of one level, whose cells are ``step`` px wide."""
    size = torch.tensor(level.shape[-2:], dtype=centres.dtype, device=centres.device)
    # align_corners=False: -1 and 1 are the outer rims of the first and the last cell
    at = (2 * (centres + 0.5) / step - size) / size
    half = sides[:, None] / step / size
    theta = centres.new_zeros((len(centres), 2, 3))
    theta[:, 0, 0], theta[:, 0, 2] = half[:, 1], at[:, 1]
    theta[:, 1, 1], theta[:, 1, 2] = half[:, 0], at[:, 0]
    grid = affine_grid(theta, [len(centres), 1, ROI_CELLS, ROI_CELLS], align_corners=False)
    if len(level) == 1:  # one frame: windows as rows of one tall grid, no copy of the frame
        tall = grid.reshape(1, -1, ROI_CELLS, 2)
        found = grid_sample(level, tall, mode=mode, padding_mode="zeros", align_corners=False)
        return found.view(len(centres), 1, ROI_CELLS, ROI_CELLS)
    return grid_sample(level[owner], grid, mode=mode, padding_mode="zeros", align_corners=False)


def roi_input(
    od: Tensor, valid: Tensor, owner: Tensor, centres: Tensor, sides: Tensor
) -> tuple[Tensor, Tensor]:
    """ROIs as the Dual U-net sees them: standardised, of one size.

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
    """Optical density in ROIs, and where it is known; arguments as of `roi_input`.

    Returns
    -------
    value : (N, 1, 64, 64) float32, OD; 0 where nothing is valid.
    usable : (N, 1, 64, 64) bool.
    """
    share = sample_windows(valid.to(od.dtype), owner, centres, sides)
    value = sample_windows(torch.where(valid, od, od.new_zeros(())), owner, centres, sides)
    usable = share > 0.5
    return torch.where(usable, value / share.clamp_min(0.5), value.new_zeros(())), usable


def standardised(value: Tensor, usable: Tensor) -> Tensor:
    """Zero mean and unit standard deviation over the usable cells, (N, 1, 64, 64)."""
    weight = usable.to(value.dtype)
    count = weight.sum((1, 2, 3), keepdim=True).clamp_min(1.0)
    mean = value.sum((1, 2, 3), keepdim=True) / count
    centred = (value - mean) * weight
    spread = (centred.square().sum((1, 2, 3), keepdim=True) / count).sqrt()
    return centred / spread.clamp_min(_LEAST_SPREAD)
