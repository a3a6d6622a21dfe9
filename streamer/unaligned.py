"""A frame as the camera saw it, small: what the aligned one is held against."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d

LONGEST_PX = 256


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
