"""Aligned images: each pixel of the reference taken from where the electrode has carried it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d

from ....models.arrays import Array
from ....models.warp import crop, resample
from .motion import FieldMotion

_GRID_PX = 8
_INSIDE = 1.25
_OUTSIDE = 2.0
LONGEST_PX = 256


def prepare(od: NDArray[np.float32], valid: NDArray[np.bool_], device: torch.device) -> Tensor:
    """Optical density as (1, 1, H, W) float32 on the device, NaN where invalid."""
    image = np.where(valid, od, np.float32(np.nan))
    return torch.from_numpy(image)[None, None].to(device)


def crop_rois(image: Tensor, centres: Array, side: int) -> Tensor:
    """Windows of side S centred on sub-pixel positions, resampled once.

    Parameters
    ----------
    image : (1, 1, H, W) float32, NaN where invalid.
    centres : (P, 2) float64, px.
    side : S, px; pixel (i, j) of a window samples the image at centre + (i, j) - (S - 1) / 2.

    Returns
    -------
    (P, 1, S, S) float32, NaN outside the image and where it is invalid.
    """
    if len(centres) == 0:
        return image.new_zeros((0, 1, side, side))
    return crop(image, torch.from_numpy(centres - (side - 1) / 2).to(image.device), side)


def fuse(image: Tensor, motion: FieldMotion, moments: dict[int, Array]) -> Tensor:
    """The whole frame with drift, deformation and each particle's own motion taken out.

    The field drift + affine, seen through the magnification where that is known, holds
    everywhere; the residual of each particle is added inside an
    ellipse of 1.25 times its half-axes and fades out towards 2 times. The image is resampled
    once, straight from the raw optical density.

    Parameters
    ----------
    image : (1, 1, H, W) float32, NaN where invalid.
    motion : motion of this frame.
    moments : central second moments (yy, xx, yx), px^2, of each particle's mask.

    Returns
    -------
    (H, W) float32, NaN where the pixel was outside the image or invalid.
    """
    height, width = image.shape[-2:]
    nodes = _coarse_places((height, width), motion, moments).transpose(2, 0, 1)
    places = _between(torch.from_numpy(nodes.astype(np.float32)).to(image.device), width)
    return resample(image, places[:, :height].movedim(0, -1)[None])[0, 0]


def _between(nodes: Tensor, width: int) -> Tensor:
    """Linear interpolation of (2, h, w) between nodes a grid step apart, `width` columns of it."""
    share = torch.arange(_GRID_PX, device=nodes.device) / _GRID_PX
    near = nodes[..., None]
    wide = torch.lerp(near[:, :, :-1], near[:, :, 1:], share).flatten(2)[:, :, None, :width]
    return torch.lerp(wide[:, :-1], wide[:, 1:], share[:, None]).flatten(1, 2)


def _coarse_places(shape: tuple[int, int], motion: FieldMotion, moments: dict[int, Array]) -> Array:
    """Where every eighth pixel is found in the image, and one beyond, (h, w, 2) px."""
    y, x = (np.arange(0.0, size + _GRID_PX, _GRID_PX) for size in shape)
    total = np.zeros((len(y), len(x)))
    own = np.zeros((2, *total.shape))
    for moved in motion.moved:
        if moved.particle not in moments:
            continue
        dy, dx = y - moved.reference_yx[0], x - moved.reference_yx[1]
        reach = _OUTSIDE * 2.0 * np.sqrt(moments[moved.particle][:2])
        rows, columns = np.abs(dy) <= reach[0], np.abs(dx) <= reach[1]
        weight = _weight(dy[rows, None], dx[columns], moments[moved.particle])
        window = np.ix_(rows, columns)
        total[window] += weight
        own[:, *window] += weight * moved.residual[:, None, None]
    points = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1)
    field = motion.drift + motion.affine.at(points.reshape(-1, 2)).reshape(points.shape)
    field += (own / np.maximum(total, 1.0)).transpose(1, 2, 0)
    return motion.view.to_image(points + field)


def _weight(dy: Array, dx: Array, moments: Array) -> Array:
    """1 inside the scaled ellipse of equal moments, falling smoothly to 0 outside."""
    yy, xx, yx = moments
    determinant = max(yy * xx - yx**2, 1e-3)
    # an ellipse has half-axes of twice the root of its second moments
    quadratic = xx * dy**2 + (yy * dx - 2 * yx * dy) * dx
    radius = np.sqrt(np.maximum(quadratic / determinant, 0.0)) / 2.0
    step = np.clip((_OUTSIDE - radius) / (_OUTSIDE - _INSIDE), 0.0, 1.0)
    return step * step * (3 - 2 * step)


# A frame as the camera saw it, small: what the aligned one is held against.


def binning(shape: tuple[int, int]) -> int:
    """Into how many pixels along each axis one goes, for a longest side of `LONGEST_PX`."""
    return max(1, -(-max(shape) // LONGEST_PX))


def unaligned_shape(shape: tuple[int, int]) -> tuple[int, int]:
    """Shape of the small image of a frame; what is left over at the far sides is not in it."""
    factor = binning(shape)
    return max(1, shape[0] // factor), max(1, shape[1] // factor)


def unaligned(image: Tensor) -> NDArray[np.float32]:
    """Means over squares of a frame.

    Parameters
    ----------
    image : (1, 1, H, W) float32, optical density, NaN where invalid.

    Returns
    -------
    (h, w) float32, see `unaligned_shape`; NaN where a pixel of the square is.
    """
    height, width = image.shape[-2:]
    factor = binning((height, width))
    kernel = min(factor, height), min(factor, width)
    return avg_pool2d(image, kernel, stride=factor)[0, 0].cpu().numpy()
