"""Resampling of images at given coordinates, by one interpolation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn.functional import grid_sample

_BAND = 16384  # px, whose temporaries fit into the cache of a CPU; by eye

# px; closer to a pixel than this is that pixel, its neighbours are not needed; it is below the
# error of `_INVERSE`
_SNAP = 1e-4
_INVERSE = (-0.31706868, -1.1268279, 4.78433048, -23.104755)  # fitted, see `_correction`
_A = -0.75  # of the kernel of grid_sample


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
    known = (images - images).add_(images)  # NaN for all that is not finite
    if valid is not None:
        known.masked_fill_(~valid, torch.nan)
    found = []
    for image, yx in zip(known[:, 0], yx_map, strict=True):
        sample = point_sampler(image[None, None])
        # bands keep the temporaries of a CPU in its cache; a GPU wants all at once
        rows = max(1, _BAND // max(yx.shape[1], 1)) if image.device.type == "cpu" else len(yx)
        out = torch.cat([sample(band) for band in yx.split(max(rows, 1))])
        # samples at pixel centres need less than the sixteen pixels around: ask them again
        row, column = out.isnan().nonzero(as_tuple=True)
        again = yx[row, column]
        on_pixel = ((again - again.round()).abs_() <= _SNAP).any(dim=1)
        if bool(on_pixel.any()):
            out[row[on_pixel], column[on_pixel]] = _on_pixels(image, again[on_pixel])
        found.append(out)
    return torch.stack(found)[:, None]


def crop(image: torch.Tensor, corners: torch.Tensor, side: int) -> torch.Tensor:
    """Cut square windows out of one image at sub-pixel places; see `resample`.

    All pixels of a window have the same fraction, so that rows and columns are interpolated one
    after the other.

    Parameters
    ----------
    image : (1, 1, H, W) float32, NaN where it may not be used.
    corners : (P, 2) float64, px; pixel (i, j) of a window is the image at corner + (i, j).
    side : S, px.

    Returns
    -------
    (P, 1, S, S) float32, NaN as in `resample`.
    """
    pixel, taps, lone = _weights(corners)
    row, column = _neighbours(pixel, side, image.shape).unbind(1)
    framed = _framed(image)
    at = row[:, :, None] * framed.shape[-1] + column[:, None, :]
    raw = framed.view(-1).index_select(0, at.view(-1)).view(at.shape)
    bad = raw.isnan()
    some = bool(bad.any())
    out = raw.masked_fill_(bad, 0.0) if some else raw
    for axis in (1, 2):
        size = out.shape[axis] - 3
        weights = taps[:, axis - 1].to(out.dtype)[:, :, None, None]
        total = out.narrow(axis, 0, size) * weights[:, 0]
        for i in (1, 2, 3):
            total.addcmul_(out.narrow(axis, i, size), weights[:, i])
        out = total
        if some:  # one of four along the axis is bad, or the pixel itself where it is lone
            one, own, three, four = (bad.narrow(axis, i, bad.shape[axis] - 3) for i in range(4))
            alone = lone[:, axis - 1, None, None]
            bad = torch.where(alone, own, one | own | three | four)
    return (out.masked_fill_(bad, torch.nan) if some else out)[:, None]


def point_sampler(
    image: torch.Tensor, *, lattice: bool = False
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Prepare one image to be sampled at scattered points often; see `resample`.

    Parameters
    ----------
    image : (1, 1, H, W) float32, NaN where it may not be used.
    lattice : the places of each row are whole pixels apart, which saves most of the arithmetic.

    Returns
    -------
    Takes places (N, M, 2) float32, px, and gives (N, M) float32; NaN where one of the 4 x 4 pixels
    around is outside or NaN, needed or not. Fastest where y and x lie apart in memory.
    """
    framed = _framed(image)
    scale = 2.0 / (framed.shape[-1] - 1)
    first = framed.new_tensor(scale - 1.0)
    # grid_sample wants (x, y): (y, x) of the transposed image, whose kernel is the same
    across = framed.transpose(-1, -2)

    def sample(yx: torch.Tensor) -> torch.Tensor:
        if lattice:
            one = yx[:, :1]
            offset = torch.add(first, _correction(one - one.floor()), alpha=scale)
            grid = torch.add(offset, yx, alpha=scale)
        else:
            # negative places get a wrong fraction, but remain outside
            asked = _correction(yx.frac()).add_(yx)
            grid = torch.add(first, asked, alpha=scale, out=asked)
        return grid_sample(across, grid[None], "bicubic", "border", align_corners=True)[0, 0]

    return sample


def _framed(image: torch.Tensor) -> torch.Tensor:
    """Put an image (1, 1, H, W) into a frame of NaN, which answers for what lies outside.

    It is a pixel wide, or more: with equal sides, places are scaled by one number.
    """
    height, width = image.shape[-2:]
    side = max(height, width) + 2
    framed = image.new_full((1, 1, side, side), torch.nan)
    framed[..., 1 : height + 1, 1 : width + 1] = image
    return framed


def _on_pixels(image: torch.Tensor, yx: torch.Tensor) -> torch.Tensor:
    """Sample an image (H, W) at places (N, 2) of which some need one row or column only."""
    pixel, taps, _ = _weights(yx)
    row, column = _neighbours(pixel, 1, image.shape).unbind(1)
    values = _framed(image[None, None])[0, 0, row[:, :, None], column[:, None, :]]
    weight = taps[:, 0, :, None] * taps[:, 1, None, :]
    return (values.where(weight != 0, 0.0) * weight).sum((1, 2))


def _weights(yx: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Find pixels (N, 2), weights (N, 2, 4) along y and x of them and their neighbours, the lone.

    A lone pixel (N, 2) is so close that its neighbours have no weight. The weights are those of
    the kernel of grid_sample.
    """
    pixel = (yx + _SNAP).floor()
    fraction = (yx - pixel).clamp(0, 1)
    lone = fraction <= _SNAP
    asked = _correction(fraction).add_(fraction)
    s = asked[..., None] + asked.new_tensor([1.0, 0.0, -1.0, -2.0])
    s = s.abs_()
    near = ((_A + 2) * s - (_A + 3)) * s * s + 1
    far = ((_A * s - 5 * _A) * s + 8 * _A) * s - 4 * _A
    taps = torch.where(s <= 1, near, far).masked_fill(lone[..., None], 0.0)
    taps[..., 1] += lone
    return pixel, taps, lone


def _neighbours(pixel: torch.Tensor, side: int, shape: torch.Size) -> torch.Tensor:
    """Find rows and columns (N, 2, S + 3) that S pixels from one on need, of a framed image."""
    last = torch.tensor(shape[-2:], device=pixel.device)[:, None] + 1
    steps = torch.arange(side + 3, device=pixel.device)
    # what lies outside is read off the frame
    near = pixel.clamp(-side - 3, max(shape[-2:]) + 1).long()
    return (near[..., None] + steps).clamp(min=0).minimum(last)


def _correction(fraction: torch.Tensor) -> torch.Tensor:
    """Tell by how much off a fraction grid_sample must be asked to answer for it.

    Its kernel puts a sample asked for at s at s + s (1 - s) (1 - 2 s) / 2, as a ramp shows. This
    polynomial inverts that to 1.4e-4 px.
    """
    c = fraction.new_tensor(_INVERSE)
    both = torch.addcmul(fraction, fraction, fraction, value=-1)
    factor = torch.add(c[2], both, alpha=_INVERSE[3])
    torch.addcmul(c[1], factor, both, out=factor)
    torch.addcmul(c[0], factor, both, out=factor)
    factor.mul_(both)
    return factor.addcmul_(factor, fraction, value=-2)
