"""Identity by the structural similarity of ROIs in adjacent frames: the matcher of the paper."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ....models.arrays import Array, Mask
from ....models.detector import Detections
from ....models.masks import fill_defects
from ....models.ssim import ssim
from .assign import UnlinkedFrame, place, within
from .linker import FrameLinker, Match, apply_matches, prepare
from .masks import place_cut, positions
from .settings import LinkSettings
from .tracks import LinkResult, LinkState, Observation, Track

_PLACE = 0.25  # share of its worth that a pair loses at the gate; by eye
_ENTERING = 0.01  # least worth of a pair whose track was never seen whole; by eye
DATA_RANGE = 4.0
"""Of standardised ROIs: two standard deviations to either side of the mean."""
_WIDTH = 1.75  # of the window, in diameters of a disc of the same area; by eye
_FLAT = 1e-6  # spread below which nothing varies, OD: far below any noise


class SsimLinker(FrameLinker):
    """Tracks continue with the detection whose ROI is most like their last one.

    ROI matching of Su et al. 2024 (J. Synchrotron Rad. 31, section 2.2.2), which compares every
    pair of ROIs of adjacent projections by SSIM. The definition here is that of Wang et al. 2004
    (doi 10.1109/TIP.2003.819861) with alpha = beta = gamma = 1 and c3 = c2 / 2::

        SSIM = (2 mu_x mu_y + c1) (2 sigma_xy + c2)
               / ((mu_x^2 + mu_y^2 + c1) (sigma_x^2 + sigma_y^2 + c2))

    averaged over Gaussian windows of 11 x 11 cells, sigma 1.5; c1 = (0.01 L)^2, c2 = (0.03 L)^2,
    L = 4. Equation (1) of the paper has misprints that are not followed: its l has the product
    mu_x^2 mu_y^2 where the sum belongs, so that l(x, x) is not 1, and its c has the covariance
    sigma_xy where sigma_x sigma_y belongs, which would count the structure twice.

    ROIs are masked and resampled to `ssim_size` cells (see `rois_of`), and each pair is
    standardised before it is compared, as contrast grows fourfold over an absorption edge. The
    assignment is the Hungarian one on 1 - SSIM; a track is rather left alone than given what is
    below `ssim_floor`. Of a particle that leaves, the last whole ROI is kept; one that enters
    needs no likeness until it was seen whole, as it shows another share of itself in every frame.

    Place decides what is compared: detections within `wide_gate_px` of where a track is expected
    after the common shift of the field. In simulated scans with jitter of 8 px, and of 40
    particles, identities were the same without that shift; it is used as it lets a field jump by
    more than the gate, and unseen particles coast along. Beyond the paper, a pair loses up to a
    quarter of its worth towards the gate, for particles that look the same. Touching particles are
    divided by their expected masks before, as for every linker.

    Limits: a mask that is wrong in one frame has another look, so that its particle may become a
    new one; particles that look the same and change places within a frame exchange identities.
    """

    __slots__ = ()

    def update(
        self,
        state: LinkState,
        detections: Detections,
        od: NDArray[np.float32],
        claims: tuple[Observation, ...] = (),
        valid: Mask | None = None,
    ) -> tuple[LinkState, LinkResult]:
        """Link the detections of the next frame."""
        prepared = prepare(state, detections, od, valid, self.settings)
        found = bodies(od, prepared.frame.valid, prepared.groups.detections)
        matches = _match(prepared.frame, found, self.settings)
        after, result = apply_matches(state, prepared, matches, claims, self.settings)
        return _remember(after, result, found, self.settings.ssim_size), result


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pairs:
    """K pairs of a track and a detection that may be the same particle.

    Attributes
    ----------
    tracks, views : (K,) their rows.
    rois : K last ROIs of the tracks, (S, S) each.
    centres : (K, 2) float64, where the centre of the particle would be, px.
    away : (K,) float64, how far that is from where it is expected, 0..1 of how far it may be.
    """

    tracks: NDArray[np.intp]
    views: NDArray[np.intp]
    rois: list[NDArray[np.float32]]
    centres: Array
    away: Array


def _match(frame: UnlinkedFrame, found: Bodies, settings: LinkSettings) -> dict[int, Match]:
    """Find the detections of tracks: among the sure ones, then among the weak ones."""
    pairs = _pairs(frame, np.maximum(settings.wide_gate_px, frame.gates))
    if not pairs.rois:
        return {}
    table = np.full((len(frame.tracks), len(frame.views)), np.nan, np.float32)
    table[pairs.tracks, pairs.views] = _likeness(pairs, frame, found, settings.ssim_size)
    worth = _worth(table, frame, settings)
    # particles that look the same are told apart by place
    worth[pairs.tracks, pairs.views] *= 1.0 - _PLACE * pairs.away**2
    sure = np.array([view.score >= settings.min_score for view in frame.views], dtype=bool)
    first = _assign(np.where(sure, worth, 0.0))
    weak = np.where(sure, 0.0, worth)
    weak[[t for t, _ in first]] = 0.0
    return {t: Match(row=n, similarity=float(table[t, n])) for t, n in [*first, *_assign(weak)]}


def _likeness(pairs: _Pairs, frame: UnlinkedFrame, found: Bodies, size: int) -> NDArray[np.float32]:
    """Compute the structural similarity (K,) of the last ROIs of tracks with what is seen now."""
    sides = np.array([side_of(frame.tracks[t].area) for t in pairs.tracks])
    now = rois_of(found, pairs.views, pairs.centres, sides, size)
    return pair_ssim(torch.from_numpy(np.stack(pairs.rois))[:, None], now)


def _pairs(frame: UnlinkedFrame, reach: Array) -> _Pairs:
    tracks, seen, rois, centres, away = [], [], [], [], []
    for t, n in np.argwhere(within(frame, reach)):
        track, expected = frame.tracks[t], frame.expected[t]
        yx = _centre(frame, int(t), int(n))
        distance = np.hypot(*(yx - expected.yx)) / reach[t]
        if track.roi is not None and distance <= 1:
            tracks.append(t)
            seen.append(n)
            rois.append(track.roi)
            centres.append(yx)
            away.append(distance)
    return _Pairs(
        tracks=np.array(tracks, np.intp),
        views=np.array(seen, np.intp),
        rois=rois,
        centres=positions(centres),
        away=np.array(away),
    )


def _centre(frame: UnlinkedFrame, t: int, n: int) -> Array:
    """Place the centre of a track, (2,) px, as if it were what is seen."""
    track, expected, view = frame.tracks[t], frame.expected[t], frame.views[n]
    seen = view.placed.yx
    yx = place(track, expected, view, frame.valid).yx
    if view.cut and track.whole and (yx == seen).all():
        # expected where nothing of it could be seen: it came back
        yx = place_cut(replace(expected, yx=seen), seen, frame.valid).yx
    return yx


def _worth(table: NDArray[np.float32], frame: UnlinkedFrame, settings: LinkSettings) -> Array:
    """Rate each pair (T, N) by how much better it is than to leave its track alone, or 0."""
    worth = np.where(np.isnan(table), 0.0, table - settings.ssim_floor).clip(min=0.0)
    # what enters shows another share of itself in every frame, which is no likeness to ask for
    area = np.array([view.area for view in frame.views])
    for t, track in enumerate(frame.tracks):
        if not track.whole:
            grows = ~np.isnan(table[t]) & (area >= track.area / settings.max_area_ratio)
            worth[t, grows] = worth[t, grows].clip(min=_ENTERING)
    return worth


def _assign(worth: Array) -> list[tuple[int, int]]:
    """Assign (Hungarian) on 1 - SSIM, where to leave a track alone costs 1 - floor."""
    rows, columns = linear_sum_assignment(worth, maximize=True)
    return [(int(t), int(n)) for t, n in zip(rows, columns, strict=True) if worth[t, n] > 0]


def _remember(state: LinkState, result: LinkResult, found: Bodies, size: int) -> LinkState:
    """Keep the ROI of each particle that was seen, for the next frame."""
    rows = {o.particle: o for o in result.observations if o.detection >= 0}
    fresh = [t for t in state.tracks if t.particle in rows and _shows(t, rows[t.particle], result)]
    if not fresh:
        return state
    seen = [rows[t.particle] for t in fresh]
    detected = np.array([o.detection for o in seen], np.intp)
    sides = np.array([side_of(t.area) for t in fresh])
    rois = rois_of(found, detected, positions([o.yx for o in seen]), sides, size)[:, 0].numpy()
    of = dict(zip((t.particle for t in fresh), rois, strict=True))
    tracks = (replace(t, roi=of[t.particle]) if t.particle in of else t for t in state.tracks)
    return replace(state, tracks=tuple(tracks))


def _shows(track: Track, seen: Observation, result: LinkResult) -> bool:
    """Tell whether what was seen is all that is known of the particle: a part is not its ROI."""
    part = seen.divided or bool(result.detections.cut[seen.detection])
    return track.roi is None or not (part and track.whole)


# Structural similarity of the ROIs of detections with those of tracks, batched over the pairs.
#
# A ROI is what a mask shows: optical density above the local background within the mask, nothing
# outside of it, in a square window around the centre of the particle, resampled to S x S cells. The
# window is 1.75 times as wide as a disc of the particle's area. Both ROIs of a pair have the window
# of the track, so that size counts; cells that lie outside of what can be seen are unknown.


def side_of(area: float) -> float:
    """Return the side of the window of a particle, px, from its area, px^2."""
    return _WIDTH * 2.0 * float(np.sqrt(max(area, 1.0) / np.pi))


@dataclass(frozen=True, slots=True)
class Bodies:
    """The N detections of a frame, each by itself.

    Attributes
    ----------
    value : (N, P, P) float32, OD above the local background, 0 outside of the mask.
    corner : (N, 2) float64, place of their first pixels in the frame, px.
    usable : (H, W) bool, pixels of the frame that can be seen.
    """

    value: Tensor
    corner: Tensor
    usable: Tensor


def bodies(image: NDArray[np.float32], valid: Mask, detections: Detections) -> Bodies:
    """Cut the detections out of a frame: (H, W) optical density and valid pixels."""
    od, usable = _fill(image, valid)
    corner = detections.bbox[:, :2]
    extent = int((detections.bbox[:, 2:] - corner).max(initial=1))
    at = torch.from_numpy(corner[:, :, None] + np.arange(extent))  # (N, 2, P)
    height, width = od.shape
    index = at[:, 0, :, None].clamp(max=height - 1) * width + at[:, 1, None, :].clamp(max=width - 1)
    row = torch.arange(1, len(detections) + 1)[:, None, None]
    # beyond the frame the last pixels repeat
    inside = (at[:, 0, :, None] < height) & (at[:, 1, None, :] < width)
    mask = (torch.from_numpy(detections.labels).take(index) == row) & inside
    value = torch.where(mask, od.take(index), 0.0)
    mean = value.sum(dim=(1, 2)) / mask.sum(dim=(1, 2)).clamp(min=1)
    # the detector knows by how much the background around the mask is lower
    level = mean - torch.from_numpy(detections.contrast).float()
    value = torch.where(mask, value - level[:, None, None], 0.0)
    return Bodies(value=value, corner=torch.from_numpy(corner).float(), usable=usable)


def _fill(od: NDArray[np.float32], valid: Mask) -> tuple[Tensor, Tensor]:
    """Fill lone defects, so that they make no part of a ROI unknown."""
    value, usable = (torch.from_numpy(np.ascontiguousarray(a))[None, None] for a in (od, valid))
    if not valid.all():
        value, usable = fill_defects(value, usable)
    return value[0, 0], usable[0, 0]


def rois_of(
    found: Bodies, rows: NDArray[np.intp], centres: Array, sides: Array, size: int
) -> Tensor:
    """Make ROIs of K detections, every cell the mean over its area or over one pixel.

    Parameters
    ----------
    rows : (K,) detections; one may be in several windows.
    centres : (K, 2) and sides : (K,), of their windows, px.
    size : S, cells per side.

    Returns
    -------
    (K, 1, S, S) float32, OD above the local background, 0 outside of the mask, NaN where unknown.
    """
    row = torch.from_numpy(rows)
    steps = (torch.arange(size) + 0.5) / size - 0.5
    side = torch.from_numpy(sides).float()
    cells = torch.from_numpy(centres).float()[:, :, None] + side[:, None, None] * steps  # (K, 2, S)
    half = (side / size).clamp(min=1.0)[:, None, None, None] / 2
    pixels = torch.arange(found.value.shape[-1]) + 0.0
    offset = pixels - (cells - found.corner[row][:, :, None])[..., None]  # (K, 2, S, P)
    share = torch.minimum(offset + 0.5, half) - torch.maximum(offset - 0.5, -half)
    down, across = (share.clamp(min=0.0) / (2 * half)).unbind(dim=1)
    value = down @ found.value[row] @ across.mT
    at = cells.round().long()
    last = torch.tensor(found.usable.shape)[:, None] - 1
    within = ((at >= 0) & (at <= last)).unbind(dim=1)
    y, x = at.clamp(min=torch.zeros_like(last), max=last).unbind(dim=1)
    known = found.usable[y[:, :, None], x[:, None, :]]
    known = known & within[0][:, :, None] & within[1][:, None, :]
    return torch.where(known, value, torch.nan)[:, None]


def pair_ssim(first: Tensor, second: Tensor) -> NDArray[np.float32]:
    """Compute the SSIM of K pairs of ROIs, (K, 1, S, S) each.

    Both are standardised (zero mean, unit variance) over the cells that are known in both, which
    takes gain and offset out, then compared by :func:`operando.models.ssim.ssim` with a data range
    of 4.

    Returns
    -------
    (K,) float32 in -1..1; NaN where no window of 11 x 11 cells is known in both, or nothing varies.
    """
    known = torch.isfinite(first) & torch.isfinite(second)
    a, b = _standardised(first, known), _standardised(second, known)
    return ssim(a, b, DATA_RANGE).numpy()


def _standardised(values: Tensor, known: Tensor) -> Tensor:
    """Standardise images, NaN where not known, and everywhere if nothing varies."""
    axes = (1, 2, 3)
    count = known.sum(dim=axes, keepdim=True).clamp(min=1)
    centred = torch.where(known, values, 0.0)
    centred = torch.where(known, centred - centred.sum(dim=axes, keepdim=True) / count, 0.0)
    spread = torch.sqrt((centred**2).sum(dim=axes, keepdim=True) / count)
    return torch.where(known & (spread > _FLAT), centred / spread.clamp(min=_FLAT), torch.nan)
