"""A detector without weights: background, regions, half-maximum masks."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import find_objects, gaussian_filter

from .background import Background, estimate
from .detections import Detections
from .grids import interpolate
from .masks import grow
from .pyramid import Level, pyramids
from .refine import Outline, Window, refine
from .regions import find_regions
from .settings import DetectSettings

_FAINT = 2.4  # contrast over noise below which the score is next to nothing
_ROUNDS = 5
_CLEAR = 8.0  # contrast over noise below which a coarser resolution is better
_ROUND = 0.8  # compactness below which a coarser resolution may be better
_RESOLVED = 10.0  # radius from which a rim is resolved, cells
_LEAST_CELLS = 10
_CELLS = 36  # a particle is refined at the resolution at which it is at most this wide


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A refined particle at its place.

    Attributes
    ----------
    outline : its mask and rim.
    corner : (y, x) cell of the level at which the window begins (may be negative).
    step : px per cell.
    cut : the mask touches the rim of the frame or of the valid area.
    """

    outline: Outline
    corner: tuple[int, int]
    step: int
    cut: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One frame while its particles are refined.

    Attributes
    ----------
    levels : the frame at all resolutions.
    background : what is subtracted.
    regions : (h, w) int32 coarse regions.
    unit : px per cell of `regions`.
    least : contrast below which nothing can be a particle, OD.
    """

    levels: list[Level]
    background: Background
    regions: NDArray[np.int32]
    unit: int
    least: float

    def window(
        self, n: int, box: tuple[slice, ...], k: int
    ) -> tuple[Window, NDArray[np.bool_], tuple[int, int]]:
        """Surroundings of region `n` on level `k`, the region there, and the corner cell."""
        level = self.levels[k]
        span = max(s.stop - s.start for s in box) * self.unit / level.step
        margin = round(0.35 * span) + 5
        rows, columns = (
            np.arange(
                s.start * self.unit // level.step - margin,
                -(-s.stop * self.unit // level.step) + margin,
            )
            for s in box
        )
        height, width = level.value.shape
        inside = np.logical_and.outer(
            (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
        )
        pick = np.ix_(rows.clip(0, height - 1), columns.clip(0, width - 1))
        # The coarse cell at the centre of each cell of the level.
        coarse = [
            ((2 * index + 1) * level.step // (2 * self.unit)).clip(0, size - 1)
            for index, size in zip((rows, columns), self.regions.shape, strict=True)
        ]
        owner = np.where(inside, self.regions[np.ix_(*coarse)], 0)
        valid = inside & level.valid[pick]
        value = level.value[pick] if k else _smooth(level.value[pick], valid)
        flat = value - self.background.at(rows, columns, level.step)
        window = Window(
            flat=np.where(valid, flat, np.float32(0)),
            own=valid & ((owner == n) | (owner == 0)),
            free=valid & ~grow(owner > 0, 2),
            valid=valid,
            least=self.least,
        )
        return window, owner == n, (int(rows[0]), int(columns[0]))


class ThresholdDetector:
    """Finds particles as dense regions with a sharp, closed rim."""

    name = "threshold"

    def __init__(self, settings: DetectSettings, device: torch.device) -> None:
        self.settings = settings
        self.device = device
        self._coarse = max(1, round(log2(settings.min_diameter_px / 7.5)))
        widest = ceil(log2(max(settings.max_diameter_px / _CELLS, 1)))
        self._levels = max(self._coarse + 3, widest + 1)

    def detect(self, od: torch.Tensor, valid: torch.Tensor) -> list[Detections]:
        """Find particles; see `Detector.detect`."""
        od, valid = od.to(self.device), valid.to(self.device)
        shape = (int(od.shape[-2]), int(od.shape[-1]))
        with torch.inference_mode():
            frames = pyramids(od, valid & torch.isfinite(od), self._levels)
        return [self._detect_one(levels, shape) for levels in frames]

    def _detect_one(self, levels: list[Level], shape: tuple[int, int]) -> Detections:
        background = estimate(levels[self._coarse + 2], self.settings.background_px)
        if background is None:
            return collect([], shape)
        regions, noise = self._regions(levels, background)
        bright = self._bright(regions, levels[self._coarse], background)
        unit = levels[self._coarse].step
        least = max(self.settings.min_contrast, _FAINT * noise)
        scene = Scene(levels=levels, background=background, regions=regions, unit=unit, least=least)
        found: list[tuple[Candidate, float]] = []
        for n, box in enumerate(find_objects(regions), 1):
            if box is not None and bright[n]:
                candidate = self._refine(scene, n, box)
                if candidate is not None:
                    found.append((candidate, self._score(candidate, noise)))
        return collect(self._select(found), shape)

    def _regions(
        self, levels: list[Level], background: Background
    ) -> tuple[NDArray[np.int32], float]:
        """Coarse regions on the grid of the coarse level; noise of the background, OD."""
        s = self.settings
        fine, wide = levels[self._coarse], levels[self._coarse + 1]
        flat = np.where(fine.valid, fine.value - background.over(fine), np.float32(0))
        broad = np.where(wide.valid, wide.value - background.over(wide), np.float32(0))
        flat = gaussian_filter(flat, 1.5, truncate=2.5)
        limit = max(s.snr * _noise(flat, fine), s.min_contrast)
        noise = _noise(broad, wide)
        limit_broad = max(s.snr * noise, s.min_contrast)
        peak = (broad > limit_broad).repeat(2, 0).repeat(2, 1) | (flat > 2 * limit)
        area = 0.25 * np.pi * (s.min_diameter_px / fine.step) ** 2
        return find_regions(flat, s.grow * limit, peak, 0.5 * area, s.neck), noise

    def _bright(
        self, regions: NDArray[np.int32], level: Level, background: Background
    ) -> NDArray[np.bool_]:
        """Whether each region is worth while beside the densest one, by label."""
        owner = regions.ravel()
        flat = (level.value - background.over(level)).ravel()
        means = np.bincount(owner, flat) / np.maximum(np.bincount(owner), 1)
        least = 0.7 * self.settings.min_relative_contrast
        return means > least * means[1:].max(initial=0.0)

    def _refine(self, scene: Scene, n: int, box: tuple[slice, ...]) -> Candidate | None:
        """Outline of region `n`, at a resolution that suits its size and its noise."""
        size = float(np.sqrt(np.count_nonzero(scene.regions[box] == n) / np.pi))
        width = 2 * size * scene.unit
        k = min(max(0, ceil(log2(width / _CELLS))), len(scene.levels) - 1)
        candidate = self._refine_at(scene, n, box, k)
        coarser = min(k + 1, len(scene.levels) - 1)
        if candidate is None or width < _LEAST_CELLS * scene.levels[coarser].step:
            return candidate
        outline = candidate.outline
        if outline.contrast > _CLEAR * outline.noise and outline.compact > _ROUND:
            return candidate
        other = self._refine_at(scene, n, box, coarser)
        if other is None or other.outline.compact < candidate.outline.compact:
            return candidate
        return other

    def _refine_at(self, scene: Scene, n: int, box: tuple[slice, ...], k: int) -> Candidate | None:
        window, start, corner = scene.window(n, box, k)
        outline = refine(window, start, self.settings.rim_level, _ROUNDS)
        if outline is None:
            return None
        blocked = grow(~window.valid, 2)
        cut = int(np.count_nonzero((outline.share > 0.5) & blocked)) >= 2
        return Candidate(outline=outline, corner=corner, step=scene.levels[k].step, cut=cut)

    def _select(self, found: list[tuple[Candidate, float]]) -> list[tuple[Candidate, float]]:
        """Drop what is faint beside the densest particles, and what has a poor score."""
        s = self.settings
        sure = [c.outline.contrast for c, score in found if score > 0.5]
        least = s.min_relative_contrast * max(sure, default=0.0)
        rated = [(c, score * _soft(c.outline.contrast, least, 0.15 * least)) for c, score in found]
        return [(c, score) for c, score in rated if score >= s.min_score]

    def _score(self, candidate: Candidate, noise: float) -> float:
        """How much a candidate is like a particle, 0..1."""
        s, o = self.settings, candidate.outline
        area, _, (yy, xx, yx) = _shape(candidate)
        diameter = 2 * np.sqrt(area / np.pi)
        size = s.min_diameter_px * 0.8 <= diameter <= s.max_diameter_px * 1.2
        if not size or o.contrast < s.min_contrast:
            return 0.0
        root = np.hypot((yy - xx) / 2, yx)
        long, short = (yy + xx) / 2 + root, max((yy + xx) / 2 - root, 1e-9)
        fill = area / (4 * np.pi * np.sqrt(long * short))
        if not candidate.cut and (fill < s.min_fill or long / short > s.max_elongation**2):
            return 0.0
        # The slope at the rim of small ones is limited by blur and smoothing.
        sharp = s.min_sharpness * min(1.0, diameter / (2 * _RESOLVED * candidate.step))
        clear = o.contrast / max(noise, 1e-6)
        # The fainter, the rounder and smoother it must be: clouds are ragged and lumpy.
        compact = s.min_compactness + 0.2 * np.clip((7.5 - clear) / 3, 0, 1)
        texture = s.max_texture + 0.075 * (clear - 4.5)
        return float(
            _soft(o.sharpness, sharp, 0.04 * s.min_sharpness)
            * _soft(clear, 3.0, 0.2)
            * _soft(o.closed, 0.7, 0.08)
            * _soft(o.compact, compact, 0.04)
            * _soft(texture, o.texture, 0.02)
        )


def collect(found: list[tuple[Candidate, float]], shape: tuple[int, int]) -> Detections:
    """Put refined particles together.

    Parameters
    ----------
    found : candidates and their scores.
    shape : frame (H, W).
    """
    labels = np.zeros(shape, np.int32)
    rows = []
    for n, (candidate, score) in enumerate(found, 1):
        area, yx, moments = _shape(candidate)
        box = _paint(labels, candidate, n)
        rows.append((*yx, area, *moments, *box, candidate.outline.contrast, score, candidate.cut))
    table = np.array(rows, dtype=np.float64).reshape(-1, 13)
    return Detections(
        labels=labels,
        yx=table[:, 0:2].copy(),
        area=table[:, 2].copy(),
        moments=table[:, 3:6].copy(),
        bbox=table[:, 6:10].astype(np.int64),
        contrast=table[:, 10].copy(),
        score=table[:, 11].copy(),
        cut=table[:, 12].astype(bool),
    )


def _shape(
    candidate: Candidate,
) -> tuple[float, tuple[float, float], tuple[float, float, float]]:
    """Area, centre and second moments (yy, xx, yx) of a mask, px."""
    share, step = candidate.outline.share.astype(np.float64), candidate.step
    y, x = (np.arange(n, dtype=np.float64) for n in share.shape)
    total = share.sum()
    in_y, in_x = share.sum(1), share.sum(0)
    cy, cx = in_y @ y / total, in_x @ x / total
    dy, dx = y - cy, x - cx
    # A cell is not a point: it adds the moment of a square.
    yy, xx = in_y @ dy**2 / total + 1 / 12, in_x @ dx**2 / total + 1 / 12
    yx = dy @ share @ dx / total
    y0, x0 = candidate.corner
    centre = ((y0 + cy + 0.5) * step - 0.5, (x0 + cx + 0.5) * step - 0.5)
    return total * step**2, centre, (yy * step**2, xx * step**2, yx * step**2)


def _paint(labels: NDArray[np.int32], candidate: Candidate, n: int) -> tuple[int, int, int, int]:
    """Draw a mask at full resolution where nothing is yet; returns its bounds."""
    share, step = candidate.outline.share, candidate.step
    if step > 1:
        rows, columns = (np.arange(n * step) for n in share.shape)
        share = interpolate(share, rows, columns, 1 / step)
    top, left = (c * step for c in candidate.corner)
    y0, x0 = max(top, 0), max(left, 0)
    y1 = min(top + share.shape[0], labels.shape[0])
    x1 = min(left + share.shape[1], labels.shape[1])
    target = labels[y0:y1, x0:x1]
    mask = (share[y0 - top : y1 - top, x0 - left : x1 - left] > 0.5) & (target == 0)
    target[mask] = n
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return (y0, x0, y0, x0)
    return (
        y0 + int(rows[0]),
        x0 + int(columns[0]),
        y0 + int(rows[-1]) + 1,
        x0 + int(columns[-1]) + 1,
    )


def _noise(flat: NDArray[np.float32], level: Level) -> float:
    """Standard deviation of the background with its clouds, but without particles, OD."""
    values = flat[level.valid]
    below = values[values < 0]
    if not len(below):
        return 0.0
    sigma = float(1.4826 * np.median(-below))
    # Clouds are denser than the rest, so that what lies below alone would underestimate them.
    for _ in range(3):
        sigma = float(np.sqrt(np.mean(values[values < 4 * sigma] ** 2)))
    return sigma


def _soft(value: float, middle: float, width: float) -> float:
    return float(1 / (1 + np.exp(np.clip((middle - value) / max(width, 1e-9), -50, 50))))


def _smooth(
    value: NDArray[np.float32], valid: NDArray[np.bool_], sigma: float = 1.5
) -> NDArray[np.float32]:
    weight = gaussian_filter(valid.astype(np.float32), sigma, truncate=3)
    total = gaussian_filter(np.where(valid, value, np.float32(0)), sigma, truncate=3)
    return total / np.maximum(weight, np.float32(1e-3))
