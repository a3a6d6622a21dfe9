"""Templates of particles at the contrasts at which they were seen, and how they are learned.

A template is the mean of aligned ROIs. Its contrast is fixed: over an absorption edge the weight of
the particle against what lies under it changes fourfold, and a template that averaged over that
would creep. Where the contrast has left those known, a new template begins at the place where the
nearest one puts the particle. A template that has seen enough frames is kept as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import log

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from ....models.arrays import Array, Image, Mask
from ....models.detector import Detections
from ....models.rim import Rim, kernel, make_rim
from ..frames import OpticalDensityFrame
from .images import crop_rois, prepare
from .particle import PositionMeasurement

# by eye, but for those that say so

_APART = log(1.3)  # contrasts farther apart than this have templates of their own
_ENOUGH = 64  # frames after which a template is kept as it is
_MOST = 12  # templates of a particle: a fourfold contrast, up and down again
_BAND_PX = 8.0  # half of the band about a rim, at least
_BAND_SHARE = 0.2  # of the radius, the same for large particles
_EDGE_PX = 3  # for gradients and blurring
_LARGEST = 640  # px, side of a window: twice the largest particle that is looked for by default
_SMOOTH_SHARE = 0.04  # of the radius, blur of a template of one frame
_SMOOTH_PX = (1.0, 3.0)  # bounds of that blur
_PLACES = 48  # at which the answer to the background is asked for
_LEAST = 6  # of them that must be free
_FREE = 0.9  # share of the points about such a place that must be free
_POINTS = 1500  # of a rim that are asked
_NORMAL = 1.4826  # standard deviation of a normal variable over its median distance from 0
_AROUND = 3  # px, kept from other particles
_GOOD_PX = 0.5  # error of a place up to which a frame teaches


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

    templates: tuple[Template, ...]
    contrast: float

    def nearest(self, contrast: float) -> int:
        """Find the template whose contrast is most like this one."""
        distance = [abs(log(contrast / t.contrast)) for t in self.templates]
        return int(np.argmin(distance))

    @property
    def current(self) -> Template:
        """Return the template whose contrast is most like that of the last frame."""
        return self.templates[self.nearest(self.contrast)]

    @property
    def best(self) -> Template:
        """Return the template that gives places best: strong, and the mean of many frames."""
        able = [t for t in self.templates if t.rim is not None]
        return max(able or self.templates, key=lambda t: t.contrast**2 * min(t.frames, 8))

    def side(self, contrast: float) -> int | None:
        """Return the side of the ROI that the template of this contrast would learn from.

        Returns
        -------
        px; 0 if it has seen enough, None if there is no such template and room for one.
        """
        template = self.templates[self.nearest(contrast)]
        if abs(log(contrast / template.contrast)) > _APART:
            return None if len(self.templates) < _MOST else 0
        return template.image.shape[0] if template.frames < _ENOUGH else 0


def learn_frame(
    known: Mapping[int, TemplateSet],
    measured: Sequence[PositionMeasurement],
    pictures: Mapping[int, tuple[Array, Image]],
    corrected: OpticalDensityFrame,
    detections: Detections,
) -> dict[int, TemplateSet]:
    """Take the ROIs of a frame into the templates of all particles.

    Parameters
    ----------
    measured : places of the particles.
    pictures : place (2,) px and aligned ROI (S, S) float32 of each particle.
    """
    after = dict(known)
    free: Mask | None = None
    for item in measured:
        before = after.get(item.particle)
        if item.particle not in pictures or not _teaches(item, before):
            continue
        contrast = item.contrast if before is not None else 1.0
        side = before.side(contrast) if before is not None else None
        if before is not None and side == 0:
            after[item.particle] = replace(before, contrast=contrast)
            continue
        yx, roi = pictures[item.particle]
        view = _view(corrected, yx, roi, side or window_side(detections.bbox[item.row], yx))
        own, others = _labels(detections.labels, yx, len(view), item.row + 1)
        seen = np.where(others, np.float32(np.nan), view).astype(np.float32)
        if before is not None and side is not None:
            after[item.particle] = learn(before, seen, contrast)
            continue
        if free is None:
            taken = binary_dilation(detections.labels > 0, iterations=_AROUND)
            free = np.logical_and(corrected.valid, np.logical_not(taken))
        template = begin(seen, own, contrast)
        if template.rim is not None:
            response = background_response(template.rim, corrected.od, free)
            template = replace(template, response=response)
        after[item.particle] = add(before, template)
    return after


def _teaches(item: PositionMeasurement, known: TemplateSet | None) -> bool:
    """Tell whether a frame shows a particle well: detected, and at a place that is known."""
    if item.row < 0:
        return False
    if known is None:
        return True
    return np.isfinite(item.contrast) and item.contrast > 0 and bool((item.sigma < _GOOD_PX).all())


def _view(corrected: OpticalDensityFrame, yx: Array, roi: Image, side: int) -> Image:
    """Show the particle in a window of its own size, (S, S); the published ROI may cut it."""
    spare = len(roi) - side
    if spare >= 0 and spare % 2 == 0:
        inner = slice(spare // 2, spare // 2 + side)
        return roi[inner, inner]
    image = prepare(corrected.od, corrected.valid, torch.device("cpu"))
    return crop_rois(image, yx[None], side)[0, 0].numpy()


def _labels(labels: NDArray[np.int32], yx: Array, side: int, label: int) -> tuple[Mask, Mask]:
    """Cut own mask and that of others, widened, in the window of an ROI, (S, S) bool."""
    corner = np.rint(yx - (side - 1) / 2).astype(int)
    low, high = np.maximum(corner, 0), np.minimum(corner + side, labels.shape)
    window = np.zeros((side, side), labels.dtype)
    if (low < high).all():
        to = (slice(*at) for at in zip(low - corner, high - corner, strict=True))
        window[tuple(to)] = labels[low[0] : high[0], low[1] : high[1]]
    others = (window != 0) & (window != label)
    if others.any():
        others = np.asarray(binary_dilation(others, iterations=_AROUND), dtype=bool)
    return window == label, others


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
    """Return the even side of a window that holds a particle and the band around its rim, px.

    Parameters
    ----------
    bbox : (4,) int64, half-open bounds (y0, x0, y1, x1). yx : (2,) px, the middle of the window.
    """
    reach = float(np.abs(np.concatenate([bbox[:2] - yx, bbox[2:] - yx])).max())
    return min(2 * int(np.ceil(reach + band_px(reach) + _EDGE_PX)), _LARGEST)


def band_px(radius: float) -> float:
    """Return how far about the rim a template of this radius reaches to either side, px."""
    return max(_BAND_PX, _BAND_SHARE * radius)


def add(known: TemplateSet | None, template: Template) -> TemplateSet:
    """Add a further template."""
    others = () if known is None else known.templates
    return TemplateSet(templates=(*others, template), contrast=template.contrast)


def learn(known: TemplateSet, roi: Image, contrast: float) -> TemplateSet:
    """Take an aligned ROI into the template of its contrast.

    Parameters
    ----------
    roi : (S, S) float32, NaN where unusable; S as `TemplateSet.side` says.
    contrast : relative to the first template.
    """
    index = known.nearest(contrast)
    template = known.templates[index]
    n = template.frames + 1
    step = (roi - template.image) / n
    image = np.where(np.isfinite(step), template.image + step, template.image)
    image = np.where(np.isfinite(template.image), image, roi).astype(np.float32)
    mean = template.contrast + (contrast - template.contrast) / n
    template = replace(template, image=image, contrast=mean, frames=n)
    # the rim of a mean changes ever more slowly
    if n & (n - 1) == 0:
        template = _with_rim(template)
    templates = (*known.templates[:index], template, *known.templates[index + 1 :])
    return TemplateSet(templates=templates, contrast=contrast)


def _with_rim(template: Template) -> Template:
    usable = np.isfinite(template.image)
    radius = np.sqrt(np.count_nonzero(template.inside) / np.pi)
    band = band_px(float(radius))
    # large particles are seen through the same optics, but their rims tell more per noise
    smooth = float(np.clip(_SMOOTH_SHARE * radius, *_SMOOTH_PX)) / template.frames**0.25
    rim = make_rim(template.image, template.inside, usable, within=band, beyond=band, smooth=smooth)
    return replace(template, rim=rim)


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
    # places spread evenly (Kronecker sequence of the plastic number), the band inside
    n = np.arange(1, _PLACES + 1)[:, None]
    share = (n * np.array([0.7548776662466927, 0.5698402909980532])) % 1.0
    low, high = reach, np.array(od.shape) - 1 - reach
    centres = np.rint(low + share * (high - low)).astype(np.int64)
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
