"""A second look at a scan that is over: every frame against the best template of each particle.

Live values chain templates over the contrasts of the scan, in the order in which they come. When
the scan is over, the template that tells most is known, and every frame is matched with it at once;
what the background did to the places is judged over the whole scan (see `register.blend`), and the
motion is followed again from the beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ....models.arrays import Array
from ....models.ssim import Smoothed
from ..link import TrackState
from ..register import motion as motion_core
from ..register.background import BackgroundView, picture
from ..register.blend import ScanTrack, blend
from ..register.fit import FitRequest, TemplateFit, refine
from ..register.fuse import crop_rois, fuse, unaligned
from ..register.gauge import BACKGROUND
from ..register.motion import FieldMotion, MotionState, ParticleShift, PositionMeasurement
from ..register.settings import RegisterSettings
from ..register.steady import steady
from ..register.templates import Template, TemplateSet
from ..results import FrameResult, ParticleResult
from .branch import compare
from .gaps import fill_gaps
from .records import FrameRecord

Load = Callable[[int], tuple[Tensor, NDArray[np.int32]] | None]

_REACH_PX = 3.0

# what an uneven chemistry may still do to a place, per variation of the gain over a radius
_CHEMISTRY_PX = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """A scan that is over.

    Attributes
    ----------
    records : of its frames, in their order. load : gives image and masks of a frame, None if they
        are no longer there.
    memories : what each particle looks like. before : motion when the scan began.
    side : of the ROIs, px.
    """

    records: Sequence[FrameRecord]
    load: Load
    memories: Mapping[int, TemplateSet]
    before: MotionState
    side: int


def reregister_scan(
    scan: Scan, settings: RegisterSettings
) -> tuple[MotionState, Iterator[FrameResult]]:
    """Measure all places again.

    Returns
    -------
    The motion at the end of the scan, of the places that the templates mark, as in `before`; and
    the revised results of its frames, made one by one, of the centres of mass.
    """
    places, centres = _places(scan)
    state = motion_core.recentred(scan.before, centres)
    revisions: list[_Revision] = []
    for item in scan.records:
        now = replace(
            item.instant,
            measured=_measured(item, places.get(item.result.frame, {})),
            picture=_picture(scan, item, settings),
        )
        state, field = motion_core.update(state, now, settings)
        fitted = frozenset(places.get(item.result.frame, {}))
        revisions.append(_Revision(item, field, fitted))
    marked = motion_core.recentred(state, {p: -centre for p, centre in centres.items()})
    return marked, _results(scan, revisions, settings)


def _picture(scan: Scan, item: FrameRecord, settings: RegisterSettings) -> BackgroundView | None:
    """What lies between the particles, for the gauge that needs it."""
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


def _places(scan: Scan) -> tuple[dict[int, dict[int, _Found]], dict[int, Array]]:
    """Revised places by frame and particle, and how far from a template's mark they are, px."""
    best = {p: m.best for p, m in scan.memories.items() if m.best.rim is not None}
    fits = {item.result.frame: _fits(scan, best, item) for item in scan.records}
    fits = fill_gaps(scan.records, fits, best, scan.load)
    numbers = [p for p in best if any(p in found for found in fits.values())]
    tracks = [_track(scan.records, fits, p, best[p]) for p in numbers]
    blended = blend(tracks)
    if not blended:
        return {}, {}
    noise = np.stack([t.noise for t in tracks], axis=1)
    yx, noise = steady(np.stack([b.yx for b in blended], axis=1), noise)
    out: dict[int, dict[int, _Found]] = {item.result.frame: {} for item in scan.records}
    for column, (particle, track, both) in enumerate(zip(numbers, tracks, blended, strict=True)):
        pull = np.hypot(both.sigma, _CHEMISTRY_PX * track.tilt[:, None])
        for row in np.flatnonzero(np.isfinite(track.fitted).all(axis=1)):
            sigma = np.hypot(noise[row, column], pull[row])
            found = _Found(yx[row, column] + both.centre, sigma)
            out[scan.records[int(row)].result.frame][particle] = found
    return out, {p: both.centre for p, both in zip(numbers, blended, strict=True)}


def _fits(scan: Scan, best: Mapping[int, Template], item: FrameRecord) -> dict[int, TemplateFit]:
    loaded = scan.load(item.result.frame)
    return {} if loaded is None else refine(loaded[0], loaded[1], _requests(item, best))


def _requests(item: FrameRecord, best: Mapping[int, Template]) -> list[FitRequest]:
    requests = []
    for m in item.instant.measured:
        place = item.found.get(m.particle)
        if m.particle not in best or place is None or not m.seen:
            continue
        requests.append(
            FitRequest(
                particle=m.particle,
                anchor=best[m.particle],
                start=m.yx,
                reach=_REACH_PX,
                label=place.row + 1,
            )
        )
    return requests


def _track(
    records: Sequence[FrameRecord],
    fits: Mapping[int, Mapping[int, TemplateFit]],
    particle: int,
    best: Template,
) -> ScanTrack:
    fitted, mask, noise = (np.full((len(records), 2), np.nan) for _ in range(3))
    faintness, tilt = (np.full(len(records), np.nan) for _ in range(2))
    for row, item in enumerate(records):
        fit = fits.get(item.result.frame, {}).get(particle)
        if fit is None:
            continue
        fitted[row], noise[row] = fit.yx, fit.sigma
        faintness[row], tilt[row] = 1.0 / fit.gain - 1.0, fit.tilt
        seen = item.found.get(particle)
        if seen is not None and seen.mask_yx is not None:
            mask[row] = seen.mask_yx
    return ScanTrack(
        fitted=fitted,
        noise=noise,
        mask=mask,
        faintness=faintness,
        tilt=tilt,
        response=best.response,
    )


def _measured(record: FrameRecord, places: Mapping[int, _Found]) -> tuple[PositionMeasurement, ...]:
    """Revised places of a frame; those of particles that nobody saw at first come last."""
    told = {m.particle for m in record.instant.measured}
    known = [
        m if m.particle not in places else _revised(m, places[m.particle])
        for m in record.instant.measured
    ]
    new = [
        PositionMeasurement(particle=p, yx=f.yx, sigma=f.sigma, seen=True, cut=False, followed=True)
        for p, f in places.items()
        if p not in told
    ]
    return (*known, *new)


def _revised(item: PositionMeasurement, found: _Found) -> PositionMeasurement:
    cut = item.cut and item.seen
    return replace(item, yx=found.yx, sigma=found.sigma, seen=True, cut=cut, followed=True)


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


def _particles(
    revision: _Revision, rois: NDArray[np.float32], likeness: Array
) -> tuple[ParticleResult, ...]:
    item = revision.record
    before = {p.particle: p for p in item.result.particles}
    unseen = {m.particle for m in item.instant.measured if not m.seen}
    out = []
    for i, m in enumerate(revision.field.moved):
        told = before.pop(m.particle, None)
        gone = told is not None and told.state in (TrackState.LOST, TrackState.RETIRED)
        if told is None or gone:
            told = _found_late(m)
        elif m.particle in unseen & revision.fitted:
            told = replace(told, state=str(TrackState.TRACKED))
        out.append(
            replace(
                told,
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
