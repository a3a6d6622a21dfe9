"""The second pass over a scan that has ended: every frame against each particle's best template.

Live values chain templates over the contrasts of the scan, in the order in which they come. When
the scan is over, the best template is known, and every frame is matched with it at once;
what the background did to the places is judged over the whole scan (see `scan_places`), and the
motion is followed again from the beginning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ....models.arrays import Array, Image
from ....models.rim import RimStacks
from ....models.ssim import Smoothed
from ..link import TrackState
from ..register import motion as motion_core
from ..register.background import BackgroundView, picture
from ..register.drift import BACKGROUND
from ..register.images import crop_rois, fuse, unaligned
from ..register.motion import FieldMotion, MotionState
from ..register.particle import ParticleShift, PositionMeasurement
from ..register.places import FitRequest, TemplateFit, refine
from ..register.settings import RegisterSettings
from ..register.templates import Template, TemplateSet
from ..results import FrameResult, ParticleResult
from .branch import FrameRecord, compare
from .scan_places import Load, ScanTrack, blend, fill_gaps, steady

_REACH_PX = 3.0  # how far a place may be from where it was; by eye

# what an uneven chemistry may still do to a place, per variation of the gain over a radius; by eye
_CHEMISTRY_PX = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """A scan that has ended.

    Attributes
    ----------
    records : of its frames, in their order. load : gives image and masks of a frame, None if they
        are no longer there.
    templates : of each particle. before : motion when the scan began.
    side : of the ROIs, px. device : where the images lie.
    """

    records: Sequence[FrameRecord]
    load: Load
    templates: Mapping[int, TemplateSet]
    before: MotionState
    side: int
    device: torch.device


def reregister_scan(
    scan: Scan, settings: RegisterSettings
) -> tuple[MotionState, Iterator[FrameResult]]:
    """Measure all places again.

    Returns
    -------
    The motion at the end of the scan, of the places that the templates mark, as in `before`; and
    the revised results of its frames, made one by one, of the centres of mass.
    """
    places, centres = _revised_places(scan)
    state = motion_core.recentred(scan.before, centres)
    revisions: list[_Revision] = []
    for item in scan.records:
        now = replace(
            item.measurement,
            measured=_measured(item, places.get(item.result.frame, {})),
            background=_background(scan, item, settings),
        )
        state, field = motion_core.update(state, now, settings)
        fitted = frozenset(places.get(item.result.frame, {}))
        revisions.append(_Revision(item, field, fitted))
    marked = motion_core.recentred(state, {p: -centre for p, centre in centres.items()})
    return marked, _results(scan, revisions, settings)


def _background(scan: Scan, item: FrameRecord, settings: RegisterSettings) -> BackgroundView | None:
    """Band-pass what lies between the particles, for the gauge that needs it."""
    loaded = scan.load(item.result.frame) if settings.gauge == BACKGROUND else None
    if loaded is None:
        return None
    od = loaded[0][0, 0].cpu().numpy()
    valid = np.isfinite(od)
    return picture(np.where(valid, od, np.float32(0)), valid, loaded[1])


@dataclass(frozen=True, slots=True)
class _Revision:
    """Motion in one frame, and the particles whose places were fitted."""

    record: FrameRecord
    field: FieldMotion
    fitted: frozenset[int]


@dataclass(frozen=True, slots=True)
class _Found:
    """Revised place of one particle in one frame, px."""

    yx: Array
    sigma: Array


def _revised_places(scan: Scan) -> tuple[dict[int, dict[int, _Found]], dict[int, Array]]:
    """Revise places by frame and particle; say how far from a template's mark they are, px."""
    best = {p: m.best for p, m in scan.templates.items() if m.best.rim is not None}
    stacks = RimStacks(scan.device)
    fits = {}
    for item in scan.records:
        loaded = scan.load(item.result.frame)
        requests = _requests(item, best)
        fits[item.result.frame] = {} if loaded is None else refine(*loaded, requests, stacks)
    fits = fill_gaps(scan.records, fits, best, scan.load, stacks)
    numbers = [p for p in best if any(p in found for found in fits.values())]
    tracks = [_track(scan.records, fits, p, best[p]) for p in numbers]
    blended = blend(tracks)
    if not blended:
        return {}, {}
    noise = np.stack([t.noise for t in tracks], axis=1)
    yx, noise = steady(np.stack([b.yx for b in blended], axis=1), noise)
    out: dict[int, dict[int, _Found]] = {item.result.frame: {} for item in scan.records}
    for column, (particle, track, both) in enumerate(zip(numbers, tracks, blended, strict=True)):
        pull = np.hypot(both.sigma, _CHEMISTRY_PX * track.gain_gradient[:, None])
        for row in np.flatnonzero(np.isfinite(track.fitted).all(axis=1)):
            sigma = np.hypot(noise[row, column], pull[row])
            found = _Found(yx[row, column] + both.centre, sigma)
            out[scan.records[int(row)].result.frame][particle] = found
    return out, {p: both.centre for p, both in zip(numbers, blended, strict=True)}


def _requests(item: FrameRecord, best: Mapping[int, Template]) -> list[FitRequest]:
    return [
        FitRequest(
            particle=m.particle,
            template=best[m.particle],
            start=m.yx,
            reach=_REACH_PX,
            label=m.row + 1,
        )
        for m in item.measurement.measured
        if m.particle in best and m.seen
    ]


def _track(
    records: Sequence[FrameRecord],
    fits: Mapping[int, Mapping[int, TemplateFit]],
    particle: int,
    best: Template,
) -> ScanTrack:
    fitted, mask, noise = (np.full((len(records), 2), np.nan) for _ in range(3))
    faintness, gradient = (np.full(len(records), np.nan) for _ in range(2))
    for row, item in enumerate(records):
        fit = fits.get(item.result.frame, {}).get(particle)
        if fit is None:
            continue
        fitted[row], noise[row] = fit.yx, fit.sigma
        faintness[row], gradient[row] = 1.0 / fit.gain - 1.0, fit.gain_gradient
        for m in item.measurement.measured:
            if m.particle == particle and m.mask_yx is not None:
                mask[row] = m.mask_yx
    return ScanTrack(
        fitted=fitted,
        noise=noise,
        mask=mask,
        faintness=faintness,
        gain_gradient=gradient,
        response=best.response,
    )


def _measured(record: FrameRecord, places: Mapping[int, _Found]) -> tuple[PositionMeasurement, ...]:
    """Revise the places of a frame; those of particles that were not seen at first come last."""
    before = {m.particle for m in record.measurement.measured}
    known = []
    for m in record.measurement.measured:
        found, cut = places.get(m.particle), m.cut and m.seen
        if found is not None:
            m = replace(m, yx=found.yx, sigma=found.sigma, seen=True, cut=cut, followed=True)
        known.append(m)
    new = [
        PositionMeasurement(particle=p, yx=f.yx, sigma=f.sigma, seen=True, cut=False, followed=True)
        for p, f in places.items()
        if p not in before
    ]
    return (*known, *new)


def _results(
    scan: Scan, revisions: list[_Revision], settings: RegisterSettings
) -> Iterator[FrameResult]:
    before: dict[int, Smoothed] = {}
    for revision in revisions:
        item, field = revision.record, revision.field
        loaded = scan.load(item.result.frame)
        if loaded is None:
            continue
        image = loaded[0]
        rois = crop_rois(image, np.array([m.yx for m in field.moved]).reshape(-1, 2), scan.side)
        likeness, fresh = compare(before, field, rois, settings.ssim_range)
        before = {**before, **fresh}
        yield replace(
            item.result,
            revision=item.result.revision + 1,
            drift=field.drift,
            drift_sigma=float(np.sqrt(np.mean(field.sigma**2))),
            gauge=field.gauge,
            affine=field.affine,
            magnification=field.magnification,
            aligned=fuse(image, field, item.moments).cpu().numpy(),
            unaligned=unaligned(image),
            particles=_particles(revision, rois.cpu().numpy()[:, 0], likeness),
        )


def _particles(revision: _Revision, rois: Image, likeness: Array) -> tuple[ParticleResult, ...]:
    item = revision.record
    before = {p.particle: p for p in item.result.particles}
    unseen = {m.particle for m in item.measurement.measured if not m.seen}
    out = []
    for i, m in enumerate(revision.field.moved):
        first = before.pop(m.particle, None)
        if first is None or first.state in (TrackState.LOST, TrackState.RETIRED):
            first = _found_late(m)
        elif m.particle in unseen & revision.fitted:
            first = replace(first, state=str(TrackState.TRACKED))
        out.append(
            replace(
                first,
                yx=m.yx,
                sigma=m.sigma,
                displacement=m.displacement,
                rates=m.rates,
                path=m.path,
                residual=m.residual,
                ssim=float(likeness[i]),
                roi=rois[i],
            )
        )
    empty = np.full(rois.shape[1:], np.nan, np.float32)
    return (*out, *(replace(p, roi=empty) for p in before.values()))


def _found_late(m: ParticleShift) -> ParticleResult:
    nan = float("nan")
    return ParticleResult(
        particle=m.particle,
        state=str(TrackState.TRACKED),
        yx=m.yx,
        sigma=m.sigma,
        displacement=m.displacement,
        rates=m.rates,
        path=m.path,
        residual=m.residual,
        area=nan,
        od_mean=nan,
        ssim=nan,
        roi=np.zeros((0, 0), np.float32),
    )
