"""What a particle looks like: templates at the contrasts at which it was seen.

A template is the mean of aligned ROIs. Its contrast is fixed: over an absorption edge the weight of
the particle against what lies under it changes fourfold, and a template that averaged over that
would creep. Where the contrast has left those known, a new template begins at the place where the
nearest one puts the particle. A template that has seen enough frames is kept as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log

import numpy as np
from numpy.typing import NDArray

from ....models.arrays import Array, Image, Mask
from ....models.rim import Rim, kernel, make_rim

_APART = log(1.3)
_ENOUGH = 64
_MOST = 12
_BAND_PX = 8.0
_BAND_SHARE = 0.2
_EDGE_PX = 3  # for gradients and blurring
_LARGEST = 640  # px
_SMOOTH_SHARE = 0.04
_SMOOTH_PX = (1.0, 3.0)
_PLACES = 48
_LEAST = 6
_FREE = 0.9
_POINTS = 1500
_NORMAL = 1.4826


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """Template of one particle at one contrast.

    Attributes
    ----------
    image : (S, S) float32, mean optical density, the particle's place at (S - 1) / 2; NaN where
        nothing usable was seen.
    inside : (S, S) bool, its mask.
    contrast : relative to that of the first template.
    frames : how many are in the mean.
    rim : its rim, None if there is too little of it.
    response : (2,) float64, px: how far structure like that of the background moves the place, rms,
        at this contrast.
    """

    image: Image
    inside: Mask
    contrast: float
    frames: int
    rim: Rim | None
    response: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateSet:
    """All templates of one particle; `contrast` is that of the last frame."""

    anchors: tuple[Template, ...]
    contrast: float

    @property
    def nearest(self) -> Template:
        """The template whose contrast is most like that of the last frame."""
        return self.anchors[_nearest(self, self.contrast)]

    @property
    def best(self) -> Template:
        """The template that tells places best: strong, and the mean of many frames."""
        able = [a for a in self.anchors if a.rim is not None]
        return max(able or self.anchors, key=lambda a: a.contrast**2 * min(a.frames, 8))

    def side(self, contrast: float) -> int | None:
        """Side of the ROI that the template of this contrast would learn from.

        Returns
        -------
        px; 0 if it has seen enough, None if there is no such template and room for one.
        """
        anchor = self.anchors[_nearest(self, contrast)]
        if abs(log(contrast / anchor.contrast)) > _APART:
            return None if len(self.anchors) < _MOST else 0
        return anchor.image.shape[0] if anchor.frames < _ENOUGH else 0


def begin(roi: Image, inside: Mask, contrast: float = 1.0) -> Template:
    """Make a template of one ROI."""
    return _with_rim(
        Template(
            image=roi,
            inside=inside,
            contrast=contrast,
            frames=1,
            rim=None,
            response=np.full(2, np.nan),
        )
    )


def window_side(bbox: NDArray[np.int64], yx: Array) -> int:
    """Even side of a window about a place that holds a particle and the band around its rim, px.

    Parameters
    ----------
    bbox : (4,) int64, half-open bounds (y0, x0, y1, x1). yx : (2,) px.
    """
    reach = float(np.abs(np.concatenate([bbox[:2] - yx, bbox[2:] - yx])).max())
    return min(2 * int(np.ceil(reach + band_px(reach) + _EDGE_PX)), _LARGEST)


def band_px(radius: float) -> float:
    """How far about the rim a template of this radius reaches to either side, px."""
    return max(_BAND_PX, _BAND_SHARE * radius)


def add(memory: TemplateSet | None, anchor: Template) -> TemplateSet:
    """Remember a further template."""
    known = () if memory is None else memory.anchors
    return TemplateSet(anchors=(*known, anchor), contrast=anchor.contrast)


def learn(memory: TemplateSet, roi: Image, contrast: float) -> TemplateSet:
    """Take an aligned ROI into the template of its contrast.

    Parameters
    ----------
    roi : (S, S) float32, NaN where unusable; S as `TemplateSet.side` says.
    contrast : relative to the first template.
    """
    index = _nearest(memory, contrast)
    anchor = memory.anchors[index]
    n = anchor.frames + 1
    step = (roi - anchor.image) / n
    image = np.where(np.isfinite(step), anchor.image + step, anchor.image)
    image = np.where(np.isfinite(anchor.image), image, roi).astype(np.float32)
    mean = anchor.contrast + (contrast - anchor.contrast) / n
    anchor = replace(anchor, image=image, contrast=mean, frames=n)
    # the rim of a mean changes ever more slowly
    if n & (n - 1) == 0:
        anchor = _with_rim(anchor)
    known = (*memory.anchors[:index], anchor, *memory.anchors[index + 1 :])
    return TemplateSet(anchors=known, contrast=contrast)


def _nearest(memory: TemplateSet, contrast: float) -> int:
    distance = [abs(log(contrast / a.contrast)) for a in memory.anchors]
    return int(np.argmin(distance))


def _with_rim(anchor: Template) -> Template:
    usable = np.isfinite(anchor.image)
    radius = np.sqrt(np.count_nonzero(anchor.inside) / np.pi)
    band = band_px(float(radius))
    # large particles are seen through the same optics, but their rims tell more per noise
    smooth = float(np.clip(_SMOOTH_SHARE * radius, *_SMOOTH_PX)) / anchor.frames**0.25
    rim = make_rim(anchor.image, anchor.inside, usable, within=band, beyond=band, smooth=smooth)
    return replace(anchor, rim=rim)


# How far the structure of the background moves a fitted place.


def background_response(
    rim: Rim, od: NDArray[np.float32], free: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Apply a rim's fit to places without a particle: what it answers there is its error.

    A fit is linear in the image near its solution, so that what lies under a particle shifts it by
    the fit's answer to that alone. The background elsewhere in the frame stands for it.

    Parameters
    ----------
    rim : of the particle.
    od : (H, W) float32, optical density. free : (H, W) bool, usable and without particle.

    Returns
    -------
    (2,) float64, robust rms of (y, x), px at unit gain; NaN if there are too few free places, or
    the frame does not hold the rim.
    """
    keep = slice(None, None, max(1, len(rim.value) // _POINTS))
    # not rint: of halves, it sends two to the same pixel
    points = np.floor(rim.points[keep] + 0.5).astype(np.int64)
    reach = np.abs(points).max(axis=0)
    if (2 * reach >= od.shape).any():
        return np.full(2, np.nan)
    weights = kernel(rim, keep)
    centres = _centres(od.shape, reach)
    at = centres[:, None] + points[None]
    flat = at[..., 0] * od.shape[1] + at[..., 1]
    usable = free.take(flat)
    enough = usable.mean(axis=1) >= _FREE
    if np.count_nonzero(enough) < _LEAST:
        return np.full(2, np.nan)
    values, usable = od.take(flat[enough]).astype(np.float64), usable[enough]
    mean = (values * usable).sum(axis=1, keepdims=True) / usable.sum(axis=1, keepdims=True)
    answers = np.where(usable, values - mean, 0.0) @ weights.T
    return np.asarray(_NORMAL * np.median(np.abs(answers), axis=0), dtype=np.float64)


def _centres(shape: tuple[int, ...], reach: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places spread evenly (Kronecker sequence of the plastic number), the band inside."""
    n = np.arange(1, _PLACES + 1)[:, None]
    share = (n * np.array([0.7548776662466927, 0.5698402909980532])) % 1.0
    low, high = reach, np.array(shape) - 1 - reach
    return np.rint(low + share * (high - low)).astype(np.int64)
