"""Images of a frame: aligned as a whole, small as it came, ROIs; outlines of its masks.

Each pixel of the reference is taken from where the electrode has carried it.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d

from ....models.arrays import Array
from ....models.detector import Detections
from ....models.warp import crop, resample
from .motion import FieldMotion
from .settings import DIRECTIONS

LONGEST_PX = 256  # side of the small image, enough to see drift in; by eye
_GRID_PX = 8  # between places that are computed; motion is smooth over far more; by eye

# where a particle's own motion holds, and where it has faded, in half-axes of its ellipse; by eye
_INSIDE = 1.25
_OUTSIDE = 2.0


def prepare(od: NDArray[np.float32], valid: NDArray[np.bool_], device: torch.device) -> Tensor:
    """Put optical density, (1, 1, H, W) float32, on the device, NaN where invalid."""
    image = np.where(valid, od, np.float32(np.nan))
    return torch.from_numpy(image)[None, None].to(device)


def crop_rois(image: Tensor, centres: Array, side: int) -> Tensor:
    """Cut windows of side S centred on sub-pixel positions, resampled once.

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
    """Resample the whole frame with drift, deformation and each particle's own motion taken out.

    The field drift + affine, seen through the magnification where that is known, holds
    everywhere; the residual of each particle is added inside an ellipse of 1.25 times its half-axes
    and fades out towards 2 times. The image is resampled once, straight from the raw one.

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
    places = torch.from_numpy(nodes.astype(np.float32)).to(image.device)
    # linear in between
    share = torch.arange(_GRID_PX, device=image.device) / _GRID_PX
    near = places[..., None]
    wide = torch.lerp(near[:, :, :-1], near[:, :, 1:], share).flatten(2)[:, :, None, :width]
    places = torch.lerp(wide[:, :-1], wide[:, 1:], share[:, None]).flatten(1, 2)
    return resample(image, places[:, :height].movedim(0, -1)[None])[0, 0]


def _coarse_places(shape: tuple[int, int], motion: FieldMotion, moments: dict[int, Array]) -> Array:
    """Find every eighth pixel, and one beyond, in the image, (h, w, 2) px."""
    y, x = (np.arange(0.0, size + _GRID_PX, _GRID_PX) for size in shape)
    total = np.zeros((len(y), len(x)))
    own = np.zeros((2, *total.shape))
    for moved in motion.moved:
        if moved.particle not in moments:
            continue
        dy, dx = y - moved.reference_yx[0], x - moved.reference_yx[1]
        reach = _OUTSIDE * 2.0 * np.sqrt(moments[moved.particle][:2])
        rows, columns = np.abs(dy) <= reach[0], np.abs(dx) <= reach[1]
        dy, dx = dy[rows, None], dx[columns]
        yy, xx, yx = moments[moved.particle]
        # an ellipse of equal moments has half-axes of twice their root
        quadratic = xx * dy**2 + (yy * dx - 2 * yx * dy) * dx
        determinant = max(yy * xx - yx**2, 1e-3)
        radius = np.sqrt(np.maximum(quadratic / determinant, 0.0)) / 2.0
        step = np.clip((_OUTSIDE - radius) / (_OUTSIDE - _INSIDE), 0.0, 1.0)
        weight = step * step * (3 - 2 * step)  # falls smoothly from 1 to 0
        window = np.ix_(rows, columns)
        total[window] += weight
        own[:, *window] += weight * moved.residual[:, None, None]
    points = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1)
    field = motion.drift + motion.affine.at(points.reshape(-1, 2)).reshape(points.shape)
    field += (own / np.maximum(total, 1.0)).transpose(1, 2, 0)
    return motion.view.to_image(points + field)


def binning(shape: tuple[int, int]) -> int:
    """Return the pixels that go into one along each axis, for a longest side of `LONGEST_PX`."""
    return max(1, -(-max(shape) // LONGEST_PX))


def unaligned_shape(shape: tuple[int, int]) -> tuple[int, int]:
    """Return the shape of the small image; what is left over at the far sides is not in it."""
    factor = binning(shape)
    return max(1, shape[0] // factor), max(1, shape[1] // factor)


def unaligned(image: Tensor) -> NDArray[np.float32]:
    """Average a frame over squares: what the aligned one is held against.

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


def outlines(detections: Detections, rows: NDArray[np.int64], places: Array) -> NDArray[np.float32]:
    """Measure how far masks reach in each of `DIRECTIONS` directions, sampled pixel by pixel.

    Direction ``k`` is that of ``(sin a, cos a)`` in (y, x), with ``a = 2 pi k / DIRECTIONS``. Of a
    mask that a direction leaves and enters again, the farthest rim counts.

    Parameters
    ----------
    rows : (P,) int64, which detections. places : (P, 2) float64, (y, x) of the particles, px.

    Returns
    -------
    (P, DIRECTIONS) float32, px; 0 in a direction in which there is nothing of the mask.
    """
    if not len(rows):
        return np.zeros((0, DIRECTIONS), np.float32)
    bbox = detections.bbox[rows]
    to_corner = np.maximum(np.abs(bbox[:, :2] - places), np.abs(bbox[:, 2:] - places))
    # rounded up, so that few differ
    distance, direction = _rays(8 * (int(np.hypot(*to_corner.T).max()) // 8 + 1))
    points = places[:, None, None, :] + distance[:, None, None] * direction
    y, x = np.rint(points).astype(np.intp).transpose(3, 0, 1, 2)
    height, width = detections.labels.shape
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    found = detections.labels[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)]
    on = inside & (found == (rows + 1)[:, None, None])
    # the rim lies half a pixel beyond the last sample that is on the mask
    return np.where(on, distance[:, None] + 0.5, 0.0).max(axis=1).astype(np.float32)


@lru_cache(maxsize=32)
def _rays(reach: int) -> tuple[Array, Array]:
    """Return distances (reach,), px, and directions (DIRECTIONS, 2)."""
    angle = 2 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    return np.arange(float(reach)), np.stack([np.sin(angle), np.cos(angle)], axis=-1)
