"""Resampling of images at given coordinates, by one interpolation."""

from __future__ import annotations

import torch
from torch.nn.functional import grid_sample, pad

_MARGIN = 2
_BAND = 16384  # px
_SNAP = 1e-4  # px; closer to a pixel than this is that pixel: its neighbours are not needed


def resample(
    images: torch.Tensor, yx_map: torch.Tensor, valid: torch.Tensor | None = None
) -> torch.Tensor:
    """Sample images at arbitrary places by cubic convolution.

    ``grid_sample(mode="bicubic")`` is fast, but its kernel (a = -3/4; Keys 1981,
    doi:10.1109/TASSP.1981.1163711) does not even reproduce a ramp: it misplaces by up to 0.05 px,
    with the sub-pixel phase of the shift. Here it is asked at places corrected for that, which
    makes ramps exact and leaves an error like that of a = -1/2 on what a microscope resolves.

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
    # bands of rows keep the many temporaries of a CPU in its cache; a GPU wants all at once
    rows = max(1, _BAND // max(yx.shape[1], 1)) if image.device.type == "cpu" else yx.shape[0]
    code = _needs(usable)
    bands = [_band(image, code, part) for part in yx.split(max(rows, 1))]
    return torch.cat(bands) if bands else yx.new_zeros(yx.shape[:2])


def _band(image: torch.Tensor, code: torch.Tensor, yx: torch.Tensor) -> torch.Tensor:
    height, width = image.shape
    y, x = yx[..., 0].reshape(-1), yx[..., 1].reshape(-1)
    y0, fy = _split(y, height)
    x0, fx = _split(x, width)
    grid = torch.stack([_places(x0, fx, width), _places(y0, fy, height)], dim=-1)[None, None]
    out = grid_sample(
        image[None, None], grid, "bicubic", padding_mode="border", align_corners=True
    )[0, 0, 0]
    first = (
        y0.long()
        .mul_(width + 2 * _MARGIN)
        .add_(x0.long())
        .add_((_MARGIN - 1) * (width + 2 * _MARGIN) + (_MARGIN - 1))
    )
    bad = _unusable(code, first, fy > 0, fx > 0)
    bad |= _outside(y, height)
    bad |= _outside(x, width)
    return out.masked_fill_(bad, torch.nan).reshape(yx.shape[:2])


def _places(whole: torch.Tensor, fraction: torch.Tensor, size: int) -> torch.Tensor:
    """Where grid_sample must be asked, in -1..1 over the image, to answer for whole + fraction.

    Its kernel (a = -3/4) puts a sample asked for at fraction s at s + e(s) with
    e(s) = s (1 - s) (1 - 2 s) / 2, as a ramp shows. Two steps of Newton's method invert that.
    """
    asked = fraction
    for _ in range(2):
        both = asked * (1 - asked)
        error = both * (1 - 2 * asked) * 0.5
        slope = 1.5 - 3 * both  # 1 + de/ds
        asked = asked - (asked + error - fraction) / slope
    return (whole + asked) * (2.0 / max(size - 1, 1)) - 1


def _outside(coordinate: torch.Tensor, size: int) -> torch.Tensor:
    """Whether a coordinate is beyond the outermost pixel centres; True for NaN."""
    return ~((coordinate >= -_SNAP) & (coordinate <= size - 1 + _SNAP))


def _split(coordinate: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Whole pixel (clamped to the image) and fraction in [0, 1); 0 near a pixel centre."""
    nearest = coordinate.round()
    snapped = torch.where((coordinate - nearest).abs() < _SNAP, nearest, coordinate)
    whole = snapped.floor().nan_to_num_(nan=0.0).clamp_(0, size - 1)
    return whole, (snapped - whole).nan_to_num_(nan=0.0).clamp_(0, 1)


def _needs(usable: torch.Tensor) -> torch.Tensor:
    """Which samples would need a pixel that is outside or not usable, for each first tap.

    Four bits: the pixel only, the row, the column, the square of sixteen.
    """
    bad = pad((~usable)[None, None], (_MARGIN,) * 4, value=True)[0, 0].byte()
    wide = _any_of_four(bad, 1)
    own = bad[:, 1:-2]
    high = _any_of_four(own, 0)
    square = _any_of_four(wide, 0)
    code = torch.zeros_like(bad)
    code[:-3, :-3] = own[1:-2] + 2 * wide[1:-2] + 4 * high + 8 * square
    return code.reshape(-1)


def _unusable(
    code: torch.Tensor, first: torch.Tensor, cubic_y: torch.Tensor, cubic_x: torch.Tensor
) -> torch.Tensor:
    case = 2 * cubic_y.byte() + cubic_x.byte()
    picked = code.index_select(0, first)
    return torch.bitwise_right_shift(picked, case).bitwise_and_(1).bool()


def _any_of_four(bad: torch.Tensor, axis: int) -> torch.Tensor:
    """Whether any of a pixel and the next three along an axis is bad (uint8, three shorter)."""
    n = bad.shape[axis] - 3
    parts = [bad.narrow(axis, i, n) for i in range(4)]
    return parts[0] | parts[1] | parts[2] | parts[3]
