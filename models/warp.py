"""Resampling of images at given coordinates, by one interpolation."""

from __future__ import annotations

import torch
from torch.nn.functional import grid_sample, pad

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
    out = _cubic(image, (y0, fy), (x0, fx))
    first = (y0 + (_MARGIN - 1)) * (width + 2 * _MARGIN) + (x0 + (_MARGIN - 1))
    bad = _outside(y, height) | _outside(x, width) | _unusable(usable, first, fy > 0, fx > 0)
    return out.masked_fill_(bad, torch.nan).reshape(yx.shape[:2])


def _cubic(
    image: torch.Tensor, y: tuple[torch.Tensor, torch.Tensor], x: tuple[torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    """Cubic convolution from nine bilinear samples.

    The two inner weights of each axis have one sign, so that one bilinear sample between the two
    pixels carries both: nine vectorised samples in place of sixteen gathers, three times faster.
    """
    height, width = image.shape
    out = torch.zeros_like(y[1])
    columns = _three_taps(*x, width)
    for place_y, weight_y in _three_taps(*y, height):
        for place_x, weight_x in columns:
            grid = torch.stack([place_x, place_y], dim=-1)[None, None]
            sample = grid_sample(
                image[None, None], grid, "bilinear", padding_mode="border", align_corners=True
            )
            out.addcmul_(sample[0, 0, 0], weight_y * weight_x)
    return out


def _three_taps(
    whole: torch.Tensor, fraction: torch.Tensor, size: int
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Places (in -1..1 over the image, as grid_sample wants them) and weights along one axis."""
    a, b, c, d = _keys(fraction)
    scale = 2.0 / max(size - 1, 1)
    origin = whole.to(fraction.dtype)
    inner = b + c
    places = (origin - 1, origin + c / inner, origin + 2)
    return [
        (place * scale - 1, weight) for place, weight in zip(places, (a, inner, d), strict=True)
    ]


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
