"""Matching of ROIs by structural similarity, as the paper on which this project rests does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from ...models.detections import Detections
from . import frame
from .frame import Match
from .look import Scene, place, positions, within
from .masks import Mask
from .settings import LinkSettings
from .ssim_scores import Bodies, bodies, pair_ssim, side_of, views
from .tracks import LinkResult, LinkState, Sighting, Track

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SsimLinker:
    """Identity by the similarity of ROIs in adjacent frames."""

    settings: LinkSettings

    def init(self) -> LinkState:
        """State before the first frame of a sample."""
        return frame.begin()

    def start_run(self, state: LinkState) -> LinkState:
        """Keep the identities, and search the first frame of the new run more widely."""
        return frame.begin_run(state)

    def update(
        self,
        state: LinkState,
        detections: Detections,
        od: NDArray[np.float32],
        claims: tuple[Sighting, ...] = (),
        valid: Mask | None = None,
    ) -> tuple[LinkState, LinkResult]:
        """Link the detections of the next frame.

        Parameters
        ----------
        state : state after the frame before.
        detections : N detections of this frame.
        od : (H, W) float32, the frame as optical density.
        claims : identities that an earlier look at this frame gave. A particle that is new to
            `state` takes over the one at its place.
        valid : (H, W) bool, pixels in which particles can be seen; all if None.

        Returns
        -------
        The state after this frame, and the identities in it.
        """
        valid = np.ones(od.shape, bool) if valid is None else valid
        ahead = frame.look_ahead(state, detections, od, valid, self.settings)
        found = bodies(od, valid, ahead.groups.detections)
        matches = _match(ahead.scene, found, self.settings)
        after, result = frame.conclude(state, ahead, matches, claims, self.settings)
        return _remember(after, result, found, self.settings.ssim_size), result

    def confirm(self, state: LinkState, measured: Mapping[int, Array]) -> LinkState:
        """Keep particles that were measured, at (2,) px in the image, without a detection."""
        return frame.confirm(state, measured, self.settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pairs:
    """K pairs of a track and a detection that may be the same particle.

    Attributes
    ----------
    tracks, looks : (K,) their rows.
    rois : K last ROIs of the tracks, (S, S) each.
    centres : (K, 2) float64, where the centre of the whole particle would be, px.
    """

    tracks: NDArray[np.intp]
    looks: NDArray[np.intp]
    rois: list[NDArray[np.float32]]
    centres: Array


def _match(scene: Scene, found: Bodies, settings: LinkSettings) -> dict[int, Match]:
    """Find the detections of tracks: among the sure ones, then among the weak ones."""
    table = _table(scene, found, settings)
    sure = np.array([look.score >= settings.min_score for look in scene.looks], dtype=bool)
    sure_ones = _assign(np.where(sure, table, np.nan), settings.ssim_floor)
    left = np.where(sure, np.nan, table)
    left[list(sure_ones)] = np.nan
    return sure_ones | _assign(left, settings.ssim_floor)


def _table(scene: Scene, found: Bodies, settings: LinkSettings) -> NDArray[np.float32]:
    """Structural similarity of each track's last ROI with each detection, (T, N); NaN outside."""
    table = np.full((len(scene.tracks), len(scene.looks)), np.nan, np.float32)
    pairs = _pairs(scene, np.maximum(settings.wide_gate_px, scene.gates))
    if len(pairs.tracks):
        sides = np.array([side_of(scene.tracks[t].area) for t in pairs.tracks])
        now = views(found, pairs.looks, pairs.centres, sides, settings.ssim_size)
        last = torch.from_numpy(np.stack(pairs.rois))[:, None]
        table[pairs.tracks, pairs.looks] = pair_ssim(last, now)
    return table


def _pairs(scene: Scene, reach: Array) -> _Pairs:
    tracks, looks, rois, centres = [], [], [], []
    for t, n in np.argwhere(within(scene, reach)):
        track, expected = scene.tracks[t], scene.expected[t]
        yx = place(track, expected, scene.looks[n], scene.valid).yx
        if track.roi is not None and np.hypot(*(yx - expected.yx)) <= reach[t]:
            tracks.append(t)
            looks.append(n)
            rois.append(track.roi)
            centres.append(yx)
    return _Pairs(
        tracks=np.array(tracks, np.intp),
        looks=np.array(looks, np.intp),
        rois=rois,
        centres=positions(centres),
    )


def _assign(table: NDArray[np.float32], floor: float) -> dict[int, Match]:
    """Hungarian assignment on 1 - SSIM, in which to leave a track alone costs 1 - floor."""
    worth = np.where(np.isfinite(table), table - floor, 0.0).clip(min=0.0)
    rows, columns = linear_sum_assignment(worth, maximize=True)
    return {
        int(t): Match(row=int(n), similarity=float(table[t, n]))
        for t, n in zip(rows, columns, strict=True)
        if worth[t, n] > 0
    }


def _remember(state: LinkState, result: LinkResult, found: Bodies, size: int) -> LinkState:
    """Keep the ROI of each particle that was seen, for the next frame."""
    rows = {s.particle: s for s in result.sightings if s.detection >= 0}
    fresh = [t for t in state.tracks if t.particle in rows and _shows(t, rows[t.particle], result)]
    if not fresh:
        return state
    seen = [rows[t.particle] for t in fresh]
    looks = np.array([s.detection for s in seen], np.intp)
    sides = np.array([side_of(t.area) for t in fresh])
    rois = views(found, looks, positions([s.yx for s in seen]), sides, size)[:, 0].numpy()
    fresh_rois = dict(zip((t.particle for t in fresh), rois, strict=True))
    return replace(state, tracks=_with_rois(state.tracks, fresh_rois))


def _shows(track: Track, sighting: Sighting, result: LinkResult) -> bool:
    """Whether what was seen is all that is known of the particle: a part is not its ROI."""
    part = sighting.divided or bool(result.detections.cut[sighting.detection])
    return track.roi is None or not (part and track.whole)


def _with_rois(
    tracks: Sequence[Track], rois: Mapping[int, NDArray[np.float32]]
) -> tuple[Track, ...]:
    return tuple(replace(t, roi=rois[t.particle]) if t.particle in rois else t for t in tracks)
