"""Detect particles without weights: background, regions, masks at half maximum, score.

In the order of reading: `pyramid` (resolutions, background), `regions` (one coarse region per
particle), `contour` (its mask), and the score that is given here.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, hypot, log2, pi, sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from ..arrays import Image, Labels, Mask
from ..detector import Detections, soft_step
from ..masks import bounding_box, bounds, fill_defects, grow
from ..settings import DetectSettings
from .contour import CandidateScene, CandidateWindow, RefinedMask, refine
from .pyramid import (
    CoarseBackground,
    Level,
    Pyramids,
    estimate_background,
    gaussian,
    refined,
    refined_part,
)
from .regions import find_regions

# By eye.
_FAINT = 2.4  # contrast over noise below which the score is next to nothing
_SURE = 0.5  # score above which a particle is beyond doubt
_ROUNDS = 5
_CLEAR = 8.0  # contrast over noise below which a coarser resolution is better
_ROUND = 0.8  # compactness below which a coarser resolution may be better
_RESOLVED = 10.0  # radius from which a rim is resolved, cells
_LEAST_CELLS = 10
_AT_A_TIME = 16  # windows, so that they stay in the cache
_CELLS = 36  # a particle is refined at the resolution at which it is at most this wide


class ThresholdDetector:
    """Find particles as dense regions with a sharp, closed rim."""

    name = "threshold"

    def __init__(self, settings: DetectSettings, device: torch.device) -> None:
        self.settings = settings
        self.device = device
        self._coarse = max(1, round(log2(settings.min_diameter_px / 7.5)))
        widest = ceil(log2(max(settings.max_diameter_px / _CELLS, 1)))
        self._pyramids = Pyramids(max(self._coarse + 3, widest + 1))

    def detect(self, od: torch.Tensor, valid: torch.Tensor) -> list[Detections]:
        """Find particles; see `Detector.detect`."""
        od, valid = od.to(self.device), valid.to(self.device)
        shape = (int(od.shape[-2]), int(od.shape[-1]))
        with torch.inference_mode():
            # A finite sum has finite terms, and is much faster than looking at each.
            usable = valid if bool(torch.isfinite(od.sum())) else valid & torch.isfinite(od)
            if not bool(usable.all()):
                od, usable = fill_defects(od, usable)
            frames = self._pyramids(od, usable)
        return [self._detect_one(levels, shape) for levels in frames]

    def _detect_one(self, levels: list[Level], shape: tuple[int, int]) -> Detections:
        background = estimate_background(levels[self._coarse + 2], self.settings.background_px)
        if background is None:
            return Detections.empty(shape)
        scene = self._scene(levels, background)
        found = [(c, self._score(c, scene.noise)) for c in self._candidates(scene)]
        labels = np.zeros(shape, np.int32)
        rows = [
            (*c.yx, c.area, *c.moments, *_paint(labels, c, n), c.rim.contrast, score, c.cut)
            for n, (c, score) in enumerate(self._select(found), 1)
        ]
        return Detections.from_rows(labels, rows)

    def _scene(self, levels: list[Level], background: CoarseBackground) -> CandidateScene:
        """Find the coarse regions of a frame."""
        s = self.settings
        fine, wide = levels[self._coarse], levels[self._coarse + 1]
        rough, broad = (
            (level.value - refined(background.value, background.step // level.step)) * level.valid
            for level in (fine, wide)
        )
        flat = gaussian(rough, 1.5, 2.5)
        limit = max(s.snr * _noise(flat[fine.valid]), s.min_contrast)
        noise = _noise(broad[wide.valid])
        limit_broad = max(s.snr * noise, s.min_contrast)
        peak = (broad > limit_broad).repeat(2, 0).repeat(2, 1) | (flat > 2 * limit)
        area = 0.25 * np.pi * (s.min_diameter_px / fine.step) ** 2
        return CandidateScene(
            levels=levels,
            background=background,
            regions=find_regions(flat, s.grow * limit, peak, 0.5 * area, s.neck),
            flat=rough,
            unit=fine.step,
            noise=noise,
            least=max(s.min_contrast, _FAINT * noise),
        )

    def _candidates(self, scene: CandidateScene) -> list[Candidate]:
        """Refine the regions at resolutions that suit their sizes and their noise."""
        sizes, bright = self._overview(scene)
        boxes = find_objects(scene.regions)
        widths = 2 * scene.unit * np.sqrt(sizes / np.pi)
        last = len(scene.levels) - 1
        first = {
            n: scene.window(n, box, min(max(0, ceil(log2(widths[n] / _CELLS))), last))
            for n, box in enumerate(boxes, 1)
            if box is not None and bright[n]
        }
        found = self._refine_at(scene, list(first.values()))
        again = {
            n: scene.window(n, boxes[n - 1], min(first[n].k + 1, last))
            for n, candidate in found.items()
            if candidate.rim.contrast <= _CLEAR * candidate.rim.noise
            or candidate.rim.compact <= _ROUND
        }
        again = {
            n: p for n, p in again.items() if widths[n] >= _LEAST_CELLS * scene.levels[p.k].step
        }
        for n, other in self._refine_at(scene, list(again.values())).items():
            if other.rim.compact >= found[n].rim.compact:
                found[n] = other
        return [found[n] for n in sorted(found)]

    def _refine_at(
        self, scene: CandidateScene, places: list[CandidateWindow]
    ) -> dict[int, Candidate]:
        """Refine some regions, by number; windows of similar size at a time."""
        found: dict[int, Candidate] = {}
        order = sorted(places, key=lambda p: p.height * p.width)
        for i in range(0, len(order), _AT_A_TIME):
            some = order[i : i + _AT_A_TIME]
            windows, start, corners = scene.cut_out(some)
            rims = refine(windows, start, self.settings.rim_level, _ROUNDS)
            blocked = grow(~windows.valid, 2)
            for rim, p, corner, beside in zip(rims, some, corners, blocked, strict=True):
                if rim is not None:
                    cut = int(np.count_nonzero((rim.share > 0.5) & beside)) >= 2
                    found[p.n] = _candidate(rim, corner, scene.levels[p.k].step, cut)
        return found

    def _overview(self, scene: CandidateScene) -> tuple[NDArray[np.intp], Mask]:
        """Count the cells of each region, and choose the dense ones; by label."""
        inside = np.flatnonzero(scene.regions > 0)
        owner, flat = scene.regions.take(inside), scene.flat.take(inside)
        sizes = np.bincount(owner, minlength=1)
        means = np.bincount(owner, flat, minlength=1) / np.maximum(sizes, 1)
        least = 0.7 * self.settings.min_relative_contrast
        return sizes, means > least * means[1:].max(initial=0.0)

    def _select(self, found: list[tuple[Candidate, float]]) -> list[tuple[Candidate, float]]:
        """Drop what is faint beside the densest particles, and what has a poor score."""
        s = self.settings
        sure = [c.rim.contrast for c, score in found if score > _SURE]
        least = s.min_relative_contrast * max(sure, default=0.0)
        rated = [
            (c, float(score * soft_step(c.rim.contrast, least, 0.15 * least))) for c, score in found
        ]
        # the sure ones first: a doubtful one takes no pixel of theirs
        rated.sort(key=lambda one: one[1] <= _SURE)
        return [(c, score) for c, score in rated if score >= s.min_score]

    def _score(self, candidate: Candidate, noise: float) -> float:
        """Rate how much a candidate is like a particle, 0..1."""
        s, rim = self.settings, candidate.rim
        area, (yy, xx, yx) = candidate.area, candidate.moments
        diameter = 2 * sqrt(area / pi)
        size = s.min_diameter_px * 0.8 <= diameter <= s.max_diameter_px * 1.2
        if not size or rim.contrast < s.min_contrast:
            return 0.0
        root = hypot((yy - xx) / 2, yx)
        long, short = (yy + xx) / 2 + root, max((yy + xx) / 2 - root, 1e-9)
        fill = area / (4 * pi * sqrt(long * short))
        if not candidate.cut and (fill < s.min_fill or long / short > s.max_elongation**2):
            return 0.0
        # The slope at the rim of small ones is limited by blur and smoothing.
        sharp = s.min_sharpness * min(1.0, diameter / (2 * _RESOLVED * candidate.step))
        clear = rim.contrast / max(noise, 1e-6)
        # The fainter, the rounder and smoother it must be: clouds are ragged and lumpy.
        compact = s.min_compactness + 0.2 * min(max((7.5 - clear) / 3, 0.0), 1.0)
        texture = s.max_texture + 0.075 * (clear - 4.5)
        return float(
            soft_step(rim.sharpness, sharp, 0.04 * s.min_sharpness)
            * soft_step(clear, 3.0, 0.2)
            * soft_step(rim.closed, 0.7, 0.08)
            * soft_step(rim.compact, compact, 0.04)
            * soft_step(texture, rim.texture, 0.02)
        )


def _noise(values: Image) -> float:
    """Estimate the noise of the background with its clouds, but without particles, OD."""
    below = values[values < 0]
    if not len(below):
        return 0.0
    k = len(below) // 2
    sigma = -1.4826 * float(np.partition(below, k)[k])
    # Clouds are denser than the rest, so that what lies below alone would underestimate them.
    for _ in range(3):
        low = values[values < 4 * sigma]
        sigma = float(np.sqrt(low @ low / len(low)))
    return sigma


# Refined particles, and how they become detections.


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A refined particle at its place.

    Attributes
    ----------
    rim : its mask and the properties of its rim.
    corner : (y, x) cell of the level at which the window begins (may be negative).
    step : px per cell.
    cut : the mask touches the rim of the frame or of the valid area.
    area : of the mask, px^2.
    yx : centre of the mask, px.
    moments : second moments (yy, xx, yx) of the mask, px^2.
    """

    rim: RefinedMask
    corner: tuple[int, int]
    step: int
    cut: bool
    area: float
    yx: tuple[float, float]
    moments: tuple[float, float, float]


def _candidate(rim: RefinedMask, corner: tuple[int, int], step: int, cut: bool) -> Candidate:
    """Put a refined mask at its place in the frame, and measure its shape."""
    share = rim.share
    y, x = (np.arange(n, dtype=np.float64) for n in share.shape)
    in_y, in_x = share.sum(1, dtype=np.float64), share.sum(0, dtype=np.float64)
    total = in_y.sum()
    cy, cx = in_y @ y / total, in_x @ x / total
    dy, dx = y - cy, x - cx
    # A cell is not a point: it adds the moment of a square.
    yy, xx = in_y @ dy**2 / total + 1 / 12, in_x @ dx**2 / total + 1 / 12
    yx = dy @ (share @ dx) / total
    y0, x0 = corner
    return Candidate(
        rim=rim,
        corner=corner,
        step=step,
        cut=cut,
        area=float(total * step**2),
        yx=(float((y0 + cy + 0.5) * step - 0.5), float((x0 + cx + 0.5) * step - 0.5)),
        moments=(float(yy * step**2), float(xx * step**2), float(yx * step**2)),
    )


def _paint(labels: Labels, candidate: Candidate, n: int) -> tuple[int, int, int, int]:
    """Draw a mask at full resolution where nothing is yet; return its bounds."""
    share, step = candidate.rim.share, candidate.step
    rows, columns = (slice(s.start * step, s.stop * step) for s in bounds(share > 0))
    fine = refined_part(share, step, rows, columns) if step > 1 else share[rows, columns]
    top, left = candidate.corner[0] * step + rows.start, candidate.corner[1] * step + columns.start
    y0, x0 = max(top, 0), max(left, 0)
    y1 = max(min(top + fine.shape[0], labels.shape[0]), y0)
    x1 = max(min(left + fine.shape[1], labels.shape[1]), x0)
    target = labels[y0:y1, x0:x1]
    mask = (fine[y0 - top : y1 - top, x0 - left : x1 - left] > 0.5) & (target == 0)
    target[mask] = n
    return bounding_box(mask, y0, x0)
