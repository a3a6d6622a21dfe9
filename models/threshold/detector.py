"""A detector without weights: background, regions, half-maximum masks."""

from __future__ import annotations

from math import ceil, exp, hypot, log2, pi, sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from ..detector import Detections
from ..masks import fill_defects, grow
from ..settings import DetectSettings
from .background import CoarseBackground, estimate
from .contour import refine
from .pyramid import Level, Pyramids, gaussian
from .regions import find_regions
from .scene import Candidate, CandidateScene, CandidateWindow, collect, place

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
    """Finds particles as dense regions with a sharp, closed rim."""

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
        background = estimate(levels[self._coarse + 2], self.settings.background_px)
        if background is None:
            return collect([], shape)
        scene, noise = self._regions(levels, background)
        found = [(c, self._score(c, noise)) for c in self._refine(scene)]
        return collect(self._select(found), shape)

    def _regions(
        self, levels: list[Level], background: CoarseBackground
    ) -> tuple[CandidateScene, float]:
        """The frame with its coarse regions; noise of the background, OD."""
        s = self.settings
        fine, wide = levels[self._coarse], levels[self._coarse + 1]
        fine_valid, wide_valid = fine.valid, wide.valid
        rough = (fine.value - background.over(fine)) * fine_valid
        broad = (wide.value - background.over(wide)) * wide_valid
        flat = gaussian(rough, 1.5, 2.5)
        limit = max(s.snr * _noise(flat[fine_valid]), s.min_contrast)
        noise = _noise(broad[wide_valid])
        limit_broad = max(s.snr * noise, s.min_contrast)
        peak = (broad > limit_broad).repeat(2, 0).repeat(2, 1) | (flat > 2 * limit)
        area = 0.25 * np.pi * (s.min_diameter_px / fine.step) ** 2
        scene = CandidateScene(
            levels=levels,
            background=background,
            regions=find_regions(flat, s.grow * limit, peak, 0.5 * area, s.neck),
            flat=rough,
            unit=fine.step,
            least=max(s.min_contrast, _FAINT * noise),
        )
        return scene, noise

    def _refine(self, scene: CandidateScene) -> list[Candidate]:
        """Outlines of the regions, at resolutions that suit their sizes and their noise."""
        sizes, bright = self._overview(scene)
        boxes = find_objects(scene.regions)
        widths = 2 * scene.unit * np.sqrt(sizes / np.pi)
        last = len(scene.levels) - 1
        first = {
            n: scene.place(n, box, min(max(0, ceil(log2(widths[n] / _CELLS))), last))
            for n, box in enumerate(boxes, 1)
            if box is not None and bright[n]
        }
        found = self._refine_at(scene, list(first.values()))
        again = {
            n: scene.place(n, boxes[n - 1], min(first[n].k + 1, last))
            for n, candidate in found.items()
            if _doubtful(candidate)
        }
        again = {
            n: p for n, p in again.items() if widths[n] >= _LEAST_CELLS * scene.levels[p.k].step
        }
        for n, other in self._refine_at(scene, list(again.values())).items():
            if other.outline.compact >= found[n].outline.compact:
                found[n] = other
        return [found[n] for n in sorted(found)]

    def _refine_at(
        self, scene: CandidateScene, places: list[CandidateWindow]
    ) -> dict[int, Candidate]:
        """Candidates by region, where there is one; windows of similar size at a time."""
        found: dict[int, Candidate] = {}
        order = sorted(places, key=lambda p: p.height * p.width)
        for i in range(0, len(order), _AT_A_TIME):
            some = order[i : i + _AT_A_TIME]
            windows, start, corners = scene.windows(some)
            outlines = refine(windows, start, self.settings.rim_level, _ROUNDS)
            blocked = grow(~windows.valid, 2)
            for outline, p, corner, beside in zip(outlines, some, corners, blocked, strict=True):
                if outline is not None:
                    cut = int(np.count_nonzero((outline.share > 0.5) & beside)) >= 2
                    found[p.n] = place(outline, corner, scene.levels[p.k].step, cut)
        return found

    def _overview(self, scene: CandidateScene) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Cells of each region, and whether it is worth while beside the densest; by label."""
        inside = np.flatnonzero(scene.regions > 0)
        owner, flat = scene.regions.take(inside), scene.flat.take(inside)
        sizes = np.bincount(owner, minlength=1)
        means = np.bincount(owner, flat, minlength=1) / np.maximum(sizes, 1)
        least = 0.7 * self.settings.min_relative_contrast
        return sizes, means > least * means[1:].max(initial=0.0)

    def _select(self, found: list[tuple[Candidate, float]]) -> list[tuple[Candidate, float]]:
        """Drop what is faint beside the densest particles, and what has a poor score."""
        s = self.settings
        sure = [c.outline.contrast for c, score in found if score > _SURE]
        least = s.min_relative_contrast * max(sure, default=0.0)
        rated = [(c, score * _soft(c.outline.contrast, least, 0.15 * least)) for c, score in found]
        # the sure ones first: a doubtful one takes no pixel of theirs
        rated.sort(key=lambda one: one[1] <= _SURE)
        return [(c, score) for c, score in rated if score >= s.min_score]

    def _score(self, candidate: Candidate, noise: float) -> float:
        """How much a candidate is like a particle, 0..1."""
        s, o = self.settings, candidate.outline
        area, (yy, xx, yx) = candidate.area, candidate.moments
        diameter = 2 * sqrt(area / pi)
        size = s.min_diameter_px * 0.8 <= diameter <= s.max_diameter_px * 1.2
        if not size or o.contrast < s.min_contrast:
            return 0.0
        root = hypot((yy - xx) / 2, yx)
        long, short = (yy + xx) / 2 + root, max((yy + xx) / 2 - root, 1e-9)
        fill = area / (4 * pi * sqrt(long * short))
        if not candidate.cut and (fill < s.min_fill or long / short > s.max_elongation**2):
            return 0.0
        # The slope at the rim of small ones is limited by blur and smoothing.
        sharp = s.min_sharpness * min(1.0, diameter / (2 * _RESOLVED * candidate.step))
        clear = o.contrast / max(noise, 1e-6)
        # The fainter, the rounder and smoother it must be: clouds are ragged and lumpy.
        compact = s.min_compactness + 0.2 * min(max((7.5 - clear) / 3, 0.0), 1.0)
        texture = s.max_texture + 0.075 * (clear - 4.5)
        return float(
            _soft(o.sharpness, sharp, 0.04 * s.min_sharpness)
            * _soft(clear, 3.0, 0.2)
            * _soft(o.closed, 0.7, 0.08)
            * _soft(o.compact, compact, 0.04)
            * _soft(texture, o.texture, 0.02)
        )


def _noise(values: NDArray[np.float32]) -> float:
    """Standard deviation of the background with its clouds, but without particles, OD."""
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


def _doubtful(candidate: Candidate) -> bool:
    """Whether a coarser resolution may do better."""
    outline = candidate.outline
    return outline.contrast <= _CLEAR * outline.noise or outline.compact <= _ROUND


def _soft(value: float, middle: float, width: float) -> float:
    return 1 / (1 + exp(min(max((middle - value) / max(width, 1e-9), -50.0), 50.0)))
