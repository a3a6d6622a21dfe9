"""Resampling of images at given coordinates, by one interpolation."""

from __future__ import annotations

import torch
from torch.nn.functional import pad

_MARGIN = 2
_SNAP = 1e-4  # px; closer to a pixel than this is that pixel: its neighbours are not needed


def resample(
    images: torch.Tensor, yx_map: torch.Tensor, valid: torch.Tensor | None = None
) -> torch.Tensor:
    """Sample images at arbitrary places by cubic convolution.

    The kernel is that of Keys with a = -1/2 (doi:10.1109/TASSP.1981.1163711), which reproduces
    quadratics. ``grid_sample(mode="bicubic")`` has a = -3/4, which does not even reproduce a ramp:
    it misplaces by up to 0.05 px, with the sub-pixel phase of the shift.

    Parameters
    ----------
    images : (B, 1, H, W) float32.
    yx_map : (B, h, w, 2) float32, px; output pixel (i, j) is the image at ``yx_map[b, i, j]``.
        To move the content of an image by +dy, sample it at ``y - dy``.
    valid : (B, 1, H, W) bool, pixels that may be used; all if None. Non-finite pixels never are.

    Returns
    -------
    (B, 1, h, w) float32; NaN where a sample needs pixels that lie outside or are not valid.
    A sample at a pixel centre needs that pixel only.
    """
    usable = torch.isfinite(images)
    if valid is not None:
        usable = usable & valid
    clean = torch.where(usable, images, images.new_zeros(()))
    return torch.stack(
        [_resample_one(clean[b, 0], usable[b, 0], yx_map[b]) for b in range(images.shape[0])]
    )[:, None]


def _resample_one(image: torch.Tensor, usable: torch.Tensor, yx: torch.Tensor) -> torch.Tensor:
    height, width = image.shape
    y, x = yx[..., 0].reshape(-1), yx[..., 1].reshape(-1)
    y0, fy = _split(y, height)
    x0, fx = _split(x, width)
    row = width + 2 * _MARGIN
    first = (y0 + (_MARGIN - 1)) * row + (x0 + (_MARGIN - 1))
    flat = pad(image, (_MARGIN,) * 4).reshape(-1)
    weights_x = _keys(fx)
    out = torch.zeros_like(fy)
    for i, weight_y in enumerate(_keys(fy)):
        # A view that starts at the tap takes the same index for all sixteen taps.
        line = flat[i * row :].index_select(0, first) * weights_x[0]
        for j in range(1, 4):
            line.addcmul_(flat[i * row + j :].index_select(0, first), weights_x[j])
        out.addcmul_(line, weight_y)
    bad = _outside(y, height) | _outside(x, width) | _unusable(usable, first, fy > 0, fx > 0)
    return out.masked_fill_(bad, torch.nan).reshape(yx.shape[:2])


def _outside(coordinate: torch.Tensor, size: int) -> torch.Tensor:
    """Whether a coordinate is beyond the outermost pixel centres; True for NaN."""
    return ~((coordinate >= -_SNAP) & (coordinate <= size - 1 + _SNAP))


def _split(coordinate: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Whole pixel (clamped to the image) and fraction in [0, 1); 0 near a pixel centre."""
    nearest = coordinate.round()
    snapped = torch.where((coordinate - nearest).abs() < _SNAP, nearest, coordinate)
    whole = snapped.floor().nan_to_num_(nan=0.0).clamp_(0, size - 1)
    return whole.long(), (snapped - whole).nan_to_num_(nan=0.0).clamp_(0, 1)


def _keys(fraction: torch.Tensor) -> list[torch.Tensor]:
    """Weights of the pixels -1, 0, 1, 2 for a fraction in [0, 1)."""
    s = fraction
    r = 1 - s
    a = -0.5 * s * r * r
    d = -0.5 * s * s * r
    b = 1 + s * s * (1.5 * s - 2.5)
    return [a, b, 1 - a - b - d, d]


def _unusable(
    usable: torch.Tensor, first: torch.Tensor, cubic_y: torch.Tensor, cubic_x: torch.Tensor
) -> torch.Tensor:
    """Whether a sample needs a pixel that is outside or not usable.

    One gather suffices: the four cases (pixel only, row, column, square) are bits of one map.
    """
    bad = pad((~usable)[None, None], (_MARGIN,) * 4, value=True)[0, 0].byte()
    wide = _any_of_four(bad, 1)
    own = bad[:, 1:-2]
    high = _any_of_four(own, 0)
    square = _any_of_four(wide, 0)
    code = torch.zeros_like(bad)
    code[:-3, :-3] = own[1:-2] + 2 * wide[1:-2] + 4 * high + 8 * square
    case = 2 * cubic_y.byte() + cubic_x.byte()
    picked = code.reshape(-1).index_select(0, first)
    return torch.bitwise_right_shift(picked, case).bitwise_and_(1).bool()


def _any_of_four(bad: torch.Tensor, axis: int) -> torch.Tensor:
    """Whether any of a pixel and the next three along an axis is bad (uint8, three shorter)."""
    n = bad.shape[axis] - 3
    parts = [bad.narrow(axis, i, n) for i in range(4)]
    return parts[0] | parts[1] | parts[2] | parts[3]
