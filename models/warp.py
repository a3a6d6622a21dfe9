"""Resampling of images at given coordinates, by one interpolation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn.functional import grid_sample, pad

_MARGIN = 2
_BAND = 32768  # px
_SNAP = 1e-4  # px; closer to a pixel than this is that pixel: its neighbours are not needed
_INVERSE = (-0.31706868, -1.1268279, 4.78433048, -23.104755)


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


def point_sampler(image: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """Prepare one image to be sampled at scattered points often; see `resample`.

    Parameters
    ----------
    image : (1, 1, H, W) float32, NaN where it may not be used.

    Returns
    -------
    Takes places (..., 2) float32, px, and gives (...) float32; NaN where one of the 4 x 4 pixels
    around is outside or NaN, needed or not.
    """
    # what lies outside is read off the frame: NaN there answers for it
    framed = pad(image, (1, 1, 1, 1), value=torch.nan)
    scale = 2.0 / (image.new_tensor(framed.shape[-2:]) - 1)
    first = scale - 1.0
    # grid_sample wants (x, y): (y, x) of the transposed image, whose kernel is the same
    across = framed.transpose(-1, -2).contiguous()

    def sample(yx: torch.Tensor) -> torch.Tensor:
        whole = yx.floor()
        asked = _asked(yx - whole).add_(whole)
        grid = torch.addcmul(first, asked, scale).reshape(1, 1, -1, 2)
        out = grid_sample(across, grid, "bicubic", "border", align_corners=True)
        return out.reshape(yx.shape[:-1])

    return sample


def _resample_one(image: torch.Tensor, usable: torch.Tensor, yx: torch.Tensor) -> torch.Tensor:
    places = yx.reshape(-1, 2)
    code = _needs(usable)
    # bands keep the temporaries of a CPU in its cache; a GPU wants all at once
    size = _BAND if image.device.type == "cpu" else max(len(places), 1)
    bands = [_band(image, code, part) for part in places.split(size)]
    out = torch.cat(bands) if bands else places.new_zeros(0)
    return out.reshape(yx.shape[:2])


def _band(image: torch.Tensor, code: torch.Tensor, yx: torch.Tensor) -> torch.Tensor:
    """Sample at places (N, 2)."""
    known = yx.nan_to_num(nan=-1e6, posinf=-1e6, neginf=-1e6)
    grid = torch.empty_like(known)
    bad = torch.zeros(len(known), dtype=torch.bool, device=known.device)
    whole, case = [], torch.zeros(len(known), dtype=torch.uint8, device=known.device)
    # grid_sample wants (x, y): the first axis of the image goes into the second column
    for axis, column in ((0, 1), (1, 0)):
        size = image.shape[axis]
        place = known[:, axis].contiguous()
        bad |= (place < -_SNAP) | (place > size - 1 + _SNAP)
        pixel = (place + _SNAP).floor_().clamp_(0, size - 1)
        fraction = (place - pixel).clamp_(0, 1)
        case = 2 * case + (fraction > _SNAP).byte()
        asked = _asked(fraction).add_(pixel)
        grid[:, column] = asked.mul_(2.0 / max(size - 1, 1)).sub_(1)
        whole.append(pixel.int())
    out = grid_sample(image[None, None], grid[None, None], "bicubic", "border", align_corners=True)[
        0, 0, 0
    ]
    bad |= _unusable(code, whole[0], whole[1], case, image.shape[1])
    return out.masked_fill_(bad, torch.nan)


def _asked(fraction: torch.Tensor) -> torch.Tensor:
    """Fraction at which grid_sample must be asked to answer for a fraction.

    Its kernel puts a sample asked for at s at s + s (1 - s) (1 - 2 s) / 2, as a ramp shows. This
    polynomial inverts that to 1.4e-4 px.
    """
    both = torch.addcmul(fraction, fraction, fraction, value=-1)
    factor = both * _INVERSE[-1]
    for coefficient in _INVERSE[-2:0:-1]:
        factor.add_(coefficient).mul_(both)
    factor.add_(_INVERSE[0]).mul_(both)
    return torch.addcmul(fraction, factor, torch.rsub(fraction, 1, alpha=2))


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
    code: torch.Tensor, y: torch.Tensor, x: torch.Tensor, case: torch.Tensor, width: int
) -> torch.Tensor:
    """Whether the pixels that samples need are not all usable.

    Parameters
    ----------
    code : see `_needs`. y, x : (N,) int32, whole pixels. case : (N,) uint8, its bit.
    """
    row = width + 2 * _MARGIN
    first = torch.add(x, y, alpha=row).add_((_MARGIN - 1) * (row + 1))
    picked = code.index_select(0, first)
    return picked.bitwise_right_shift_(case).bitwise_and_(1).bool()


def _any_of_four(bad: torch.Tensor, axis: int) -> torch.Tensor:
    """Whether any of a pixel and the next three along an axis is bad (uint8, three shorter)."""
    n = bad.shape[axis] - 3
    parts = [bad.narrow(axis, i, n) for i in range(4)]
    return parts[0] | parts[1] | parts[2] | parts[3]
